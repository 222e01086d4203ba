import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const shared = {
  include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
  globalSetup: 'test/fixtures/build.ts',
  testTimeout: 60_000,
  hookTimeout: 60_000,
};

const onPostgres = process.env.PATCHBAY_TEST_DATABASE_URL !== undefined;
if (!onPostgres) {
  process.stderr.write(
    'PATCHBAY_TEST_DATABASE_URL is not set: skipping the run of every test on PostgreSQL.\n',
  );
}

/** The whole suite runs on SQLite and, where a PostgreSQL server is named, once more on that. */
export default defineConfig({
  test: {
    // Tests wait more than they compute: one worker per core, where the default leaves a core free.
    maxWorkers: availableParallelism(),
    projects: [
      { test: { ...shared, name: 'sqlite', env: { PATCHBAY_TEST_STORE: 'sqlite' } } },
      ...(onPostgres
        ? [
            {
              test: {
                ...shared,
                name: 'postgres',
                env: { PATCHBAY_TEST_STORE: 'postgres' },
                // What touches no store need not run twice.
                exclude: [
                  'src/{mcp,upstream,uplink,gateway,cli,http}/**',
                  'src/connections/inputs/**',
                  'test/{e2e,conformance,fixtures}/**',
                ],
              },
            },
          ]
        : []),
    ],
  },
});
