import { isIP } from 'node:net';
import envPaths from 'env-paths';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { defaultLimits, type Limits } from './limits.ts';
import { Secret } from './secret.ts';

/** Which private destinations upstream requests may reach (design §5, Egress). */
export type PrivateUpstreams =
  | { kind: 'loopback-while-local' }
  | { kind: 'none' }
  | { kind: 'all' }
  | { kind: 'list'; hosts: string[]; ranges: [ipaddr.IPv4 | ipaddr.IPv6, number][] };

export interface Config {
  host: string;
  port: number;
  dataDir: string;
  /** As the environment names it; without one, the bind address and port are the public URL. */
  publicUrl: URL | undefined;
  apiKey: Secret<string> | undefined;
  masterKey: Secret<Buffer> | undefined;
  databaseUrl: Secret<string> | undefined;
  privateUpstreams: PrivateUpstreams;
  /** Host names (any port) or host:port pairs, besides the public URL and loopback. */
  allowedHosts: string[];
  /** Origins besides the public URL and loopback; `['*']` allows any. */
  allowedOrigins: string[];
  /** Our client metadata document, if it is hosted elsewhere than here. */
  oauthClientMetadataUrl: URL | undefined;
  /** The OpenID provider that people sign in with; all three or none, but that a public client has no secret. */
  oidcIssuer: URL | undefined;
  oidcClientId: string | undefined;
  oidcClientSecret: Secret<string> | undefined;
  /** Instead of those of limits.ts. */
  limits: Partial<Limits>;
  logLevel: string;
}

/** A setting cannot be used. `problems` has one line each, which begins with the variable's name. */
export class ConfigError extends Error {
  readonly problems: string[];

  constructor(problems: string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

const logLevels = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;

interface Setting<T> {
  name: string;
  /** The line in `--help` and in the docs. */
  help: string;
  /** How the default is described there. */
  fallback: string;
  schema: z.ZodType<T, string | undefined>;
}

function setting<T>(
  name: string,
  fallback: string,
  help: string,
  schema: z.ZodType<T, string | undefined>,
): Setting<T> {
  return { name, fallback, help, schema };
}

const list = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

const settings = {
  host: setting(
    'PATCHBAY_HOST',
    '127.0.0.1',
    'Address to listen on.',
    z
      .string()
      .default('127.0.0.1')
      .refine((host) => isIP(host) !== 0 || /^[a-zA-Z0-9.-]+$/.test(host), 'is no IP address or host name'),
  ),
  port: setting(
    'PATCHBAY_PORT',
    '8787',
    'Port to listen on; 0 takes a free one.',
    z
      .string()
      .default('8787')
      .refine((port) => /^\d{1,5}$/.test(port) && Number(port) <= 65535, 'is no port number (0 to 65535)')
      .transform(Number),
  ),
  dataDir: setting(
    'PATCHBAY_DATA_DIR',
    'the user data directory of the platform',
    'Directory for the database and the master key; made with mode 0700.',
    z.string().default(() => envPaths('patchbay', { suffix: '' }).data),
  ),
  publicUrl: setting(
    'PATCHBAY_PUBLIC_URL',
    'http://<host>:<port>',
    'The URL that clients and browsers use, without a path.',
    z.string().transform(parsePublicUrl).optional(),
  ),
  apiKey: setting(
    'PATCHBAY_API_KEY',
    'made and printed at first start',
    'Fixes the first API key: 16 or more visible ASCII characters, valid at each start, never printed.',
    z
      .string()
      .refine((key) => /^[\x21-\x7e]{16,512}$/.test(key), 'needs 16 to 512 visible ASCII characters')
      .transform((key) => new Secret(key))
      .optional(),
  ),
  masterKey: setting(
    'PATCHBAY_MASTER_KEY',
    'a file master.key (0600) in the data directory',
    'Key that seals all secrets: 32 bytes in base64. Processes that share a database share it.',
    z.string().transform(parseMasterKey).optional(),
  ),
  databaseUrl: setting(
    'PATCHBAY_DATABASE_URL',
    'SQLite in the data directory',
    'PostgreSQL to use instead of SQLite: postgres://user:password@host/database.',
    z
      .string()
      .refine(
        (url) => /^postgres(ql)?:$/.test(URL.parse(url)?.protocol ?? ''),
        'is no postgres:// or postgresql:// URL',
      )
      .transform((url) => new Secret(url))
      .optional(),
  ),
  privateUpstreams: setting(
    'PATCHBAY_ALLOW_PRIVATE_UPSTREAMS',
    'loopback, while bind address and public URL are loopback',
    'Private addresses that upstreams may have: true, false (no loopback either), or hosts and CIDR ranges, comma-separated.',
    z.string().optional().transform(parsePrivateUpstreams),
  ),
  allowedHosts: setting(
    'PATCHBAY_ALLOWED_HOSTS',
    'the public URL and loopback',
    'More Host headers to answer to, comma-separated: name, or name:port.',
    z
      .string()
      .optional()
      .transform(list)
      .refine(
        (hosts) => hosts.every((host) => /^[^\s/@*]+$/.test(host)),
        'takes host names, not URLs or wildcards',
      )
      .transform((hosts) => hosts.map((host) => host.toLowerCase())),
  ),
  allowedOrigins: setting(
    'PATCHBAY_ALLOWED_ORIGINS',
    'the public URL and loopback',
    'More browser origins to answer to, comma-separated: https://app.example.com, or * for all.',
    z.string().optional().transform(parseOrigins),
  ),
  oauthClientMetadataUrl: setting(
    'PATCHBAY_OAUTH_CLIENT_METADATA_URL',
    '<public URL>/.well-known/oauth-client, while that is https',
    'Where authorization servers find our client metadata document, if it is hosted elsewhere.',
    z.string().transform(parseClientMetadataUrl).optional(),
  ),
  oidcIssuer: setting(
    'PATCHBAY_OIDC_ISSUER',
    'people sign in with API keys',
    'OpenID provider for single sign-on: its issuer URL, https (or http on loopback).',
    z.string().transform(parseIssuer).optional(),
  ),
  oidcClientId: setting(
    'PATCHBAY_OIDC_CLIENT_ID',
    'none',
    'Client id there; the redirect URI is <public URL>/login/sso/callback.',
    z.string().optional(),
  ),
  oidcClientSecret: setting(
    'PATCHBAY_OIDC_CLIENT_SECRET',
    'none: a public client',
    'Client secret there.',
    z
      .string()
      .transform((secret) => new Secret(secret))
      .optional(),
  ),
  limits: setting(
    'PATCHBAY_LIMITS',
    'those of docs/limits.md',
    'Other limits, comma-separated: name=number. The names and their units are in docs/limits.md.',
    z.string().optional().transform(parseLimits),
  ),
  logLevel: setting(
    'PATCHBAY_LOG_LEVEL',
    'info',
    `Least serious messages to log: ${logLevels.join(', ')}.`,
    z
      .string()
      .default('info')
      .refine(
        (level) => (logLevels as readonly string[]).includes(level),
        `is none of ${logLevels.join(', ')}`,
      ),
  ),
};

/** Name, default and explanation of every setting, in order, for `--help` and the docs. */
export function describeSettings(): { name: string; fallback: string; help: string }[] {
  return Object.values(settings).map(({ name, fallback, help }) => ({ name, fallback, help }));
}

/**
 * Reads the settings from `env`; an empty value counts as unset.
 * Throws ConfigError with one line per unusable variable. Values of secrets are never repeated in it.
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const problems: string[] = [];
  const read = <T>({ name, schema }: Setting<T>): T | undefined => {
    const given = env[name];
    const result = schema.safeParse(given === '' ? undefined : given);
    if (result.success) return result.data;
    problems.push(...result.error.issues.map((issue) => `${name} ${issue.message}.`));
    return undefined;
  };
  const config = Object.fromEntries(
    Object.entries(settings).map(([key, entry]) => [key, read(entry as Setting<unknown>)]),
  );
  const { oidcIssuer, oidcClientId, oidcClientSecret } = settings;
  const isSet = ({ name }: { name: string }) => (env[name] ?? '') !== '';
  for (const [given, missing] of [
    [oidcIssuer, oidcClientId],
    [oidcClientId, oidcIssuer],
    [oidcClientSecret, oidcIssuer],
  ] as const) {
    if (isSet(given) && !isSet(missing)) problems.push(`${missing.name} is missing: ${given.name} needs it.`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return config as unknown as Config;
}

/** The new master key for `patchbay keys rotate`, which alone reads it. Throws ConfigError. */
export function readNewMasterKey(env: Record<string, string | undefined>): Config['masterKey'] {
  const name = 'PATCHBAY_NEW_MASTER_KEY';
  const result = settings.masterKey.schema.safeParse(env[name] || undefined);
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.map((issue) => `${name} ${issue.message}.`));
}

/** Variables that look like settings of ours but are none: probably typing errors. PATCHBAY_URL is for `patchbay uplink`. */
export function unknownSettings(env: Record<string, string | undefined>): string[] {
  const known = new Set(Object.values(settings).map((entry) => entry.name));
  return Object.keys(env).filter(
    (name) =>
      name.startsWith('PATCHBAY_') &&
      !name.startsWith('PATCHBAY_TEST_') &&
      name !== 'PATCHBAY_URL' &&
      !known.has(name),
  );
}

function parsePublicUrl(text: string, context: z.RefinementCtx): URL {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    context.addIssue({ code: 'custom', message: 'is no http:// or https:// URL' });
    return z.NEVER;
  }
  if (url.pathname !== '/' || url.search || url.hash || url.username || url.password) {
    context.addIssue({ code: 'custom', message: 'must be an origin: no path, query, fragment or user' });
    return z.NEVER;
  }
  return url;
}

/** OpenID Connect Discovery 1.0 §3: an https URL without query and fragment. */
function parseIssuer(text: string, context: z.RefinementCtx): URL {
  const url = URL.parse(text);
  const isLocal = url?.protocol === 'http:' && /^(localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname);
  if (!url || !(url.protocol === 'https:' || isLocal) || url.search || url.hash || url.username) {
    context.addIssue({ code: 'custom', message: 'is no https:// URL without query and fragment' });
    return z.NEVER;
  }
  return url;
}

/** A client id of this kind is an https URL with a path (MCP 2026-07-28, basic/authorization, CIMD). */
function parseClientMetadataUrl(text: string, context: z.RefinementCtx): URL {
  const url = URL.parse(text);
  if (url?.protocol !== 'https:' || url.pathname === '/' || url.hash || url.username) {
    context.addIssue({ code: 'custom', message: 'is no https:// URL with a path' });
    return z.NEVER;
  }
  return url;
}

function parseMasterKey(text: string, context: z.RefinementCtx): Secret<Buffer> {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== 32 || !/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) {
    context.addIssue({
      code: 'custom',
      message: 'is not 32 bytes in base64 (make one with: openssl rand -base64 32)',
    });
    return z.NEVER;
  }
  return new Secret(bytes);
}

function parsePrivateUpstreams(text: string | undefined, context: z.RefinementCtx): PrivateUpstreams {
  if (text === undefined) return { kind: 'loopback-while-local' };
  if (text === 'true') return { kind: 'all' };
  if (text === 'false') return { kind: 'none' };
  const hosts: string[] = [];
  const ranges: [ipaddr.IPv4 | ipaddr.IPv6, number][] = [];
  for (const item of list(text)) {
    if (ipaddr.isValidCIDR(item)) ranges.push(ipaddr.parseCIDR(item));
    else if (isIP(item) !== 0) {
      const address = ipaddr.parse(item);
      ranges.push([address, address.kind() === 'ipv4' ? 32 : 128]);
    } else if (/^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$/.test(item)) hosts.push(item.toLowerCase());
    else {
      context.addIssue({
        code: 'custom',
        message: `takes true, false, or host names, addresses and CIDR ranges; "${item}" is none`,
      });
      return z.NEVER;
    }
  }
  return { kind: 'list', hosts, ranges };
}

/** Zero would stop what it limits, and be refused by libraries. */
function parseLimits(text: string | undefined, context: z.RefinementCtx): Partial<Limits> {
  const limits: Partial<Limits> = {};
  for (const item of list(text)) {
    const [name = '', value = ''] = item.split('=').map((part) => part.trim());
    if (!Object.hasOwn(defaultLimits, name)) {
      context.addIssue({ code: 'custom', message: `knows no limit "${name}"; docs/limits.md has the names` });
    } else if (!/^[1-9]\d{0,15}$/.test(value) || !Number.isSafeInteger(Number(value))) {
      context.addIssue({
        code: 'custom',
        message: `takes name=number with whole numbers from 1; "${item}" is none`,
      });
    } else limits[name as keyof Limits] = Number(value);
  }
  return limits;
}

function parseOrigins(text: string | undefined, context: z.RefinementCtx): string[] {
  const origins: string[] = [];
  for (const item of list(text)) {
    const origin = item === '*' ? '*' : URL.parse(item)?.origin;
    if (!origin || origin === 'null') {
      context.addIssue({
        code: 'custom',
        message: `takes origins such as https://app.example.com; "${item}" is none`,
      });
      return z.NEVER;
    }
    origins.push(origin);
  }
  return origins;
}
