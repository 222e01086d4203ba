import { homedir } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  type ConfigError,
  describeSettings,
  readConfig,
  readNewMasterKey,
  unknownSettings,
} from './config.ts';

function problems(env: Record<string, string>): string[] {
  try {
    readConfig(env);
  } catch (error) {
    return (error as ConfigError).problems;
  }
  return [];
}

describe('readConfig', () => {
  test('has a default for everything', () => {
    const config = readConfig({});
    expect(config).toMatchObject({ host: '127.0.0.1', port: 8787, logLevel: 'info', allowedHosts: [] });
    expect(config.dataDir.startsWith(homedir())).toBe(true);
    expect(config.privateUpstreams).toEqual({ kind: 'loopback-while-local' });
    expect(config.apiKey).toBeUndefined();
  });

  test('takes an empty value for none', () => {
    expect(readConfig({ PATCHBAY_PORT: '', PATCHBAY_API_KEY: '' })).toMatchObject({ port: 8787 });
  });

  test.each([
    ['PATCHBAY_HOST', 'not a host'],
    ['PATCHBAY_PORT', '65536'],
    ['PATCHBAY_PORT', 'http'],
    ['PATCHBAY_PUBLIC_URL', 'patchbay.example.com'],
    ['PATCHBAY_PUBLIC_URL', 'https://example.com/path'],
    ['PATCHBAY_PUBLIC_URL', 'ftp://example.com'],
    ['PATCHBAY_API_KEY', 'short'],
    ['PATCHBAY_API_KEY', 'sixteen characters with spaces'],
    ['PATCHBAY_MASTER_KEY', Buffer.alloc(31).toString('base64')],
    ['PATCHBAY_MASTER_KEY', 'x'.repeat(44)],
    ['PATCHBAY_DATABASE_URL', 'mysql://localhost/x'],
    ['PATCHBAY_ALLOW_PRIVATE_UPSTREAMS', 'yes please'],
    ['PATCHBAY_ALLOW_PRIVATE_UPSTREAMS', '10.0.0.0/33'],
    ['PATCHBAY_ALLOWED_HOSTS', 'https://example.com'],
    ['PATCHBAY_ALLOWED_ORIGINS', 'example.com'],
    ['PATCHBAY_OIDC_ISSUER', 'login.example.com'],
    ['PATCHBAY_OIDC_ISSUER', 'http://login.example.com'],
    ['PATCHBAY_OIDC_ISSUER', 'https://login.example.com/?tenant=1'],
    ['PATCHBAY_LIMITS', 'unheardOf=1'],
    ['PATCHBAY_LIMITS', 'toString=1'],
    ['PATCHBAY_LIMITS', 'connectMs'],
    ['PATCHBAY_LIMITS', 'connectMs=0'],
    ['PATCHBAY_LIMITS', 'connectMs=1.5'],
    ['PATCHBAY_LIMITS', 'connectMs=9007199254740992'],
    ['PATCHBAY_LOG_LEVEL', 'loud'],
  ])('names %s when it is unusable, and not its value', (name, value) => {
    const [problem] = problems({ [name]: value });
    expect(problem).toMatch(new RegExp(`^${name} `));
    if (/KEY|DATABASE/.test(name)) expect(problem).not.toContain(value);
  });

  test('takes a provider with its client or none', () => {
    const issuer = { PATCHBAY_OIDC_ISSUER: 'https://login.example.com/realm' };
    const client = { PATCHBAY_OIDC_CLIENT_ID: 'patchbay' };
    expect(readConfig({ ...issuer, ...client }).oidcIssuer?.href).toBe(issuer.PATCHBAY_OIDC_ISSUER);
    expect(problems(issuer)).toEqual(['PATCHBAY_OIDC_CLIENT_ID is missing: PATCHBAY_OIDC_ISSUER needs it.']);
    expect(problems({ PATCHBAY_OIDC_CLIENT_SECRET: 'x' })).toEqual([
      'PATCHBAY_OIDC_ISSUER is missing: PATCHBAY_OIDC_CLIENT_SECRET needs it.',
    ]);
  });

  test('reports all problems at once', () => {
    expect(problems({ PATCHBAY_PORT: 'x', PATCHBAY_LOG_LEVEL: 'x' })).toHaveLength(2);
  });

  test('reads limits, of which the last one of a name holds', () => {
    expect(readConfig({ PATCHBAY_LIMITS: 'connectMs=5, jsonDepth = 7,connectMs=6' }).limits).toEqual({
      connectMs: 6,
      jsonDepth: 7,
    });
    expect(readConfig({}).limits).toEqual({});
  });

  test('reads lists, ranges and origins', () => {
    const config = readConfig({
      PATCHBAY_ALLOW_PRIVATE_UPSTREAMS: 'intranet.example, 10.0.0.0/8, ::1',
      PATCHBAY_ALLOWED_ORIGINS: 'https://app.example.com/, *',
      PATCHBAY_ALLOWED_HOSTS: 'Patchbay.example:443',
    });
    expect(config.privateUpstreams).toMatchObject({ kind: 'list', hosts: ['intranet.example'] });
    expect(config.allowedOrigins).toEqual(['https://app.example.com', '*']);
    expect(config.allowedHosts).toEqual(['patchbay.example:443']);
  });

  test('keeps secrets in Secret', () => {
    const config = readConfig({
      PATCHBAY_API_KEY: 'sentinel-sentinel',
      PATCHBAY_DATABASE_URL: 'postgres://u:sentinel@localhost/db',
      PATCHBAY_MASTER_KEY: Buffer.alloc(32, 's').toString('base64'),
    });
    expect(JSON.stringify(config)).not.toMatch(/sentinel|ssss/);
  });
});

test('readNewMasterKey takes what PATCHBAY_MASTER_KEY would, and names its own variable', () => {
  const bytes = Buffer.alloc(32, 'n');
  expect(readNewMasterKey({ PATCHBAY_NEW_MASTER_KEY: bytes.toString('base64') })?.reveal()).toEqual(bytes);
  expect(readNewMasterKey({ PATCHBAY_NEW_MASTER_KEY: '' })).toBeUndefined();
  expect(() => readNewMasterKey({ PATCHBAY_NEW_MASTER_KEY: 'x' })).toThrow(
    /^PATCHBAY_NEW_MASTER_KEY is not 32 bytes/,
  );
});

test('unknownSettings finds typing errors', () => {
  expect(unknownSettings({ PATCHBAY_PROT: '1', PATCHBAY_PORT: '1', PATH: '' })).toEqual(['PATCHBAY_PROT']);
});

test('docs/settings.md says what the settings are', async () => {
  const rows = describeSettings().map(
    ({ name, fallback, help }) => `| \`${name}\` | ${help} | ${fallback} |`,
  );
  const page = [
    '# Settings',
    '',
    'From the environment; `patchbay --help` prints the same. A setting that cannot be used stops the start with a',
    'message that names it. An empty value counts as unset.',
    '',
    '| Variable | What it does | Default |',
    '|---|---|---|',
    ...rows,
    '',
  ];
  await expect(page.join('\n')).toMatchFileSnapshot('../../docs/settings.md');
});
