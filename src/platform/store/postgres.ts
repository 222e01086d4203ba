import { Kysely } from 'kysely';
import { PostgresJSDialect } from 'kysely-postgres-js';
import postgres from 'postgres';
import type { Secret } from '../secret.ts';
import type { Tables } from './schema.ts';

export interface PostgresConnection {
  db: Kysely<Tables>;
  sql: postgres.Sql;
}

/** Opens a pool on the database at `url`. Epoch milliseconds come back as numbers: they fit 53 bits. */
export function openPostgres(url: Secret<string>): PostgresConnection {
  const sql = postgres(url.reveal(), {
    max: 10,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'patchbay' },
    types: {
      bigint: { to: 20, from: [20], parse: Number, serialize: String },
    },
  });
  return { sql, db: new Kysely<Tables>({ dialect: new PostgresJSDialect({ postgres: sql }) }) };
}
