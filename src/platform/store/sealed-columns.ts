import type { Tables } from './schema.ts';

/**
 * Every column that holds sealed values, and the identity that each value is sealed for (vault.ts): whoever seals
 * or opens one takes the identity from here, and rotation finds them all here.
 */
export const sealedFor = {
  connectionHeaders: (uid: string) => ['connections', uid, 'headers'],
  grant: (connectionUid: string) => ['grants', connectionUid, 'tokens'],
  login: (stateHash: string) => ['logins', stateHash, 'login'],
  oauthClient: (id: string) => ['oauth_clients', id, 'secret'],
  oauthRegistration: (issuer: string, redirectUri: string) => [
    'oauth_registrations',
    issuer,
    redirectUri,
    'client',
  ],
  sessionMail: (id: string) => ['session_mail', id, 'message'],
  webhookSecret: (id: string) => ['webhooks', id, 'secret'],
};

export interface SealedColumn {
  table: keyof Tables;
  column: string;
  /** The primary key; every such table also has a column `namespace`. */
  key: readonly string[];
  /** The identity of a row's value, from the values of `key` in that order. */
  identity: (...key: string[]) => readonly string[];
}

export const sealedColumns: readonly SealedColumn[] = [
  { table: 'connections', column: 'sealed_headers', key: ['uid'], identity: sealedFor.connectionHeaders },
  { table: 'grants', column: 'sealed', key: ['connection_uid'], identity: sealedFor.grant },
  { table: 'logins', column: 'sealed', key: ['state_hash'], identity: sealedFor.login },
  { table: 'oauth_clients', column: 'sealed', key: ['id'], identity: sealedFor.oauthClient },
  {
    table: 'oauth_registrations',
    column: 'sealed',
    key: ['issuer', 'redirect_uri'],
    identity: sealedFor.oauthRegistration,
  },
  { table: 'session_mail', column: 'sealed', key: ['id'], identity: sealedFor.sessionMail },
  { table: 'webhooks', column: 'sealed_secret', key: ['id'], identity: sealedFor.webhookSecret },
];
