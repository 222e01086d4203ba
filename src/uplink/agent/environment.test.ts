import { expect, test } from 'vitest';
import { serverEnvironment } from './environment.ts';

test('a server gets what every program needs and what is named, and nothing else', () => {
  const env = {
    PATH: '/bin',
    LANG: 'en_US.UTF-8',
    LC_TIME: 'de_DE.UTF-8',
    PATCHBAY_API_KEY: 'pb_secret',
    GITHUB_TOKEN: 'ghp_secret',
    AWS_SECRET_ACCESS_KEY: 'secret',
    DATABASE_URL: 'postgres://secret',
  };
  const passed = serverEnvironment(env, ['DATABASE_URL', 'MODE=a=b', 'EMPTY=']);
  expect(passed).toMatchObject({
    LANG: 'en_US.UTF-8',
    LC_TIME: 'de_DE.UTF-8',
    DATABASE_URL: 'postgres://secret',
    MODE: 'a=b',
    EMPTY: '',
  });
  expect(passed.PATH).toBeDefined();
  for (const name of ['PATCHBAY_API_KEY', 'GITHUB_TOKEN', 'AWS_SECRET_ACCESS_KEY']) {
    expect(passed).not.toHaveProperty(name);
  }
});

test('a variable that is named and not there is an error that names it', () => {
  expect(() => serverEnvironment({}, ['TOKEN'])).toThrow('--env TOKEN: there is no such variable here.');
});
