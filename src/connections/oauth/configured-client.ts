import type { Selectable } from 'kysely';
import { z } from 'zod';
import type { OAuthClientRow } from '../../platform/store/schema.ts';

/** How a client proves itself at the token endpoint (RFC 8414 §2, RFC 7523 §2.2). */
export const authMethods = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const;
export const grantTypes = ['authorization_code', 'client_credentials'] as const;

export type TokenEndpointAuthMethod = (typeof authMethods)[number];
export type GrantType = (typeof grantTypes)[number];

/**
 * Which logins a client is for: those at one authorization server, or those of one MCP server. With `server`, `issuer`
 * is the one that the client is registered with: given, or that of the first login. Otherwise the MCP server could name
 * another one, and have our secret sent there (MCP 2026-07-28, SEP-2352).
 */
export type AppliesTo = { issuer: string; server?: never } | { server: string; issuer?: string };

/** What is stored of a client in the clear, as JSON. */
export type ClientDetails = AppliesTo & {
  clientId: string;
  tokenEndpointAuthMethod: TokenEndpointAuthMethod;
  /** Of the signatures of `private_key_jwt`. */
  algorithm?: string;
  grantType: GrantType;
  scope?: string;
};

/** A configured client as the API shows it: nothing that proves it. */
export const configuredClientSchema = z
  .strictObject({
    id: z.string(),
    issuer: z.string().optional(),
    server: z.string().optional(),
    clientId: z.string(),
    tokenEndpointAuthMethod: z.enum(authMethods),
    grantType: z.enum(grantTypes),
    scope: z.string().optional(),
    createdAt: z.string().meta({ description: 'ISO 8601' }),
  })
  .meta({ id: 'OAuthClient' });

export type ConfiguredClientView = z.infer<typeof configuredClientSchema>;

/** The key in `applies_to`, by which clients are found, and of which a namespace has each once. */
export function appliesToKey({ issuer, server }: AppliesTo): string {
  return server === undefined ? `issuer:${issuerForm(issuer)}` : `server:${serverForm(server)}`;
}

/** Whether two spellings name one issuer. */
export function isSameIssuer(one: string, other: string): boolean {
  return issuerForm(one) === issuerForm(other);
}

/** An MCP server as clients are filed for it: its URL without query, which may hold a key, and without fragment. */
export function serverForm(mcpUrl: string): string {
  const url = new URL(mcpUrl);
  url.search = '';
  url.hash = '';
  return url.href;
}

/** A stored row in the clear, as details. */
export function detailsOf(row: Pick<Selectable<OAuthClientRow>, 'details'>): ClientDetails {
  return JSON.parse(row.details);
}

/** The API's form of a stored row. */
export function presentConfiguredClient(row: Selectable<OAuthClientRow>): ConfiguredClientView {
  const { algorithm: _, ...shown } = detailsOf(row);
  return { id: row.id, ...shown, createdAt: new Date(row.created_at).toISOString() };
}

/**
 * Issuers are compared as they are written (RFC 8414 §3.3). Only one slash at the end makes no difference: people
 * copy issuers with and without it, and it is the same server.
 */
function issuerForm(issuer: string): string {
  return issuer.endsWith('/') ? issuer.slice(0, -1) : issuer;
}
