import { z } from 'zod';
import { ApiError } from '../../platform/errors.ts';
import type { Limits } from '../../platform/limits.ts';
import { Secret } from '../../platform/secret.ts';
import { isSecureUrl } from '../../platform/secure-url.ts';
import {
  type AppliesTo,
  authMethods,
  grantTypes,
  serverForm,
  type TokenEndpointAuthMethod,
} from './configured-client.ts';
import type { NewConfiguredClient } from './configured-clients.ts';
import { readSigningKey, type SigningKey, UnusableKey } from './signing-key.ts';

/** What the configuring of a client takes. The characters are those of RFC 6749, appendix A.1, A.2 and A.4. */
export const configuredClientRequestSchema = z.strictObject({
  issuer: z
    .string()
    .optional()
    .meta({
      description:
        'The authorization server, as its metadata writes `issuer`. With `server`, that of the first login unless given.',
      examples: ['https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0'],
    }),
  server: z
    .string()
    .optional()
    .meta({ description: 'The `mcpUrl` of one MCP server; its query does not matter. Wins over `issuer`.' }),
  clientId: z.string().regex(/^[\x20-\x7e]+$/, 'must be visible ASCII characters, at least one'),
  clientSecret: z
    .string()
    .regex(/^[\x20-\x7e]+$/, 'must be visible ASCII characters, at least one')
    .optional()
    .meta({ description: 'Sealed, never returned.' }),
  privateKey: z
    .union([z.string(), z.record(z.string(), z.unknown())], 'must be PEM text or a JWK object')
    .optional()
    .meta({ description: 'PEM (PKCS#8) or a JWK, for `private_key_jwt`. Sealed, never returned.' }),
  algorithm: z
    .string()
    .optional()
    .meta({ description: 'Of the signatures; ES256, RS256 and so on by the key unless given.' }),
  tokenEndpointAuthMethod: z.enum(authMethods).optional().meta({
    description: 'Unless given: private_key_jwt with a key, client_secret_basic with a secret, else none.',
  }),
  grantType: z.enum(grantTypes).default('authorization_code').meta({
    description: 'authorization_code logs a person in; client_credentials acts for the client itself.',
  }),
  scope: z
    .string()
    .regex(/^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/, 'must be scopes, one space apart')
    .optional()
    .meta({ description: 'Asked for instead of the scopes that the server names.' }),
});

export type ConfiguredClientRequest = z.infer<typeof configuredClientRequestSchema>;

/**
 * Checks what a schema cannot say, reads the key, and fills in what follows from the rest. Throws ApiError
 * `validation_error`, naming the field and never its value.
 */
export function checkConfiguredClient(request: ConfiguredClientRequest, limits: Limits): NewConfiguredClient {
  const { clientId, clientSecret, privateKey, grantType, scope } = request;
  for (const field of ['clientId', 'clientSecret', 'scope'] as const) {
    checkLength(field, request[field], limits.oauthClientFieldChars);
  }
  const appliesTo = checkAppliesTo(request, limits);
  const method = request.tokenEndpointAuthMethod ?? usualMethod(request);
  checkProof(request, method);
  if (grantType === 'client_credentials' && method === 'none') {
    refuse('grantType', 'client_credentials needs a clientSecret or a privateKey');
  }
  const key = privateKey === undefined ? undefined : checkKey(privateKey, limits);
  const algorithm = checkAlgorithm(request.algorithm, key);
  return {
    details: {
      ...appliesTo,
      clientId,
      tokenEndpointAuthMethod: method,
      ...(algorithm !== undefined && { algorithm }),
      grantType,
      ...(scope !== undefined && { scope }),
    },
    proof: key?.jwk ?? (clientSecret === undefined ? undefined : new Secret(clientSecret)),
  };
}

function checkAppliesTo({ issuer, server }: ConfiguredClientRequest, limits: Limits): AppliesTo {
  if (issuer === undefined && server === undefined)
    return refuse('issuer, server', 'give one of the two, or both');
  const checkedIssuer = issuer === undefined ? undefined : checkIssuer(issuer, limits);
  if (server === undefined) return { issuer: checkedIssuer as string };
  return {
    server: checkServer(server, limits),
    ...(checkedIssuer !== undefined && { issuer: checkedIssuer }),
  };
}

/** An issuer has no query and no fragment (RFC 8414 §2), and is kept as it is written: it is compared that way. */
function checkIssuer(issuer: string, limits: Limits): string {
  checkLength('issuer', issuer, limits.urlChars);
  const url = URL.parse(issuer);
  if (!url || !isSecureUrl(url) || /[^\x21-\x7e]|[\\?#]/.test(issuer) || url.username || url.password) {
    refuse(
      'issuer',
      'must be an https:// URL, or an http:// one on loopback, without user name, query or fragment',
    );
  }
  return issuer;
}

function checkServer(server: string, limits: Limits): string {
  const url = URL.parse(server);
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) {
    refuse('server', 'must be an http:// or https:// URL without user name or password');
  }
  const form = serverForm(server);
  checkLength('server', form, limits.urlChars);
  return form;
}

function usualMethod({ clientSecret, privateKey }: ConfiguredClientRequest): TokenEndpointAuthMethod {
  if (privateKey !== undefined) return 'private_key_jwt';
  return clientSecret === undefined ? 'none' : 'client_secret_basic';
}

/** Each method takes its own proof and no other: a secret that nothing uses is one that somebody misplaced. */
function checkProof(request: ConfiguredClientRequest, method: TokenEndpointAuthMethod): void {
  const wanted = method === 'none' ? undefined : method === 'private_key_jwt' ? 'privateKey' : 'clientSecret';
  for (const field of ['clientSecret', 'privateKey'] as const) {
    if (field === wanted && request[field] === undefined) refuse(field, `is needed for ${method}`);
    if (field !== wanted && request[field] !== undefined) refuse(field, `is not used with ${method}`);
  }
}

function checkKey(given: string | Record<string, unknown>, limits: Limits): SigningKey {
  checkLength(
    'privateKey',
    typeof given === 'string' ? given : JSON.stringify(given),
    limits.privateKeyChars,
  );
  try {
    return readSigningKey(given);
  } catch (error) {
    if (error instanceof UnusableKey) refuse('privateKey', error.message);
    throw error;
  }
}

function checkAlgorithm(given: string | undefined, key: SigningKey | undefined): string | undefined {
  if (!key) return given === undefined ? undefined : refuse('algorithm', 'is of use with a privateKey only');
  if (given !== undefined && !key.algorithms.includes(given)) {
    refuse('algorithm', `must be ${key.algorithms.join(', ')} with this key`);
  }
  return given ?? key.algorithms[0];
}

function checkLength(field: string, value: string | undefined, max: number): void {
  if (value !== undefined && value.length > max) refuse(field, `must be at most ${max} characters`);
}

function refuse(field: string, problem: string): never {
  throw new ApiError('validation_error', { message: `${field}: ${problem}.` });
}
