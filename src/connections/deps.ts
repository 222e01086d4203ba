import type { Clock } from '../platform/clock.ts';
import type { GuardedFetch } from '../platform/egress/guarded-fetch.ts';
import type { Keyring } from '../platform/keyring.ts';
import type { Limits } from '../platform/limits.ts';
import type { Logger } from '../platform/logger.ts';
import type { Store } from '../platform/store/store.ts';
import type { Circuits } from '../upstream/circuits.ts';
import type { Transport } from '../upstream/exchange.ts';
import type { SessionPool } from '../upstream/sessions.ts';

/** What the verbs on connections need, handed down from `compose.ts`. */
export interface ConnectionsDeps {
  store: Store;
  keyring: Keyring;
  clock: Clock;
  limits: Limits;
  log: Logger;
  transport: Transport;
  sessions: SessionPool;
  /** Which upstreams are left alone for the moment. */
  circuits: Circuits;
  oauth: OAuthDeps;
  /** Tells the courier of webhooks that there is something to deliver. */
  wakeCourier: () => void;
  /** Aborted when the program stops: no probe holds that up. */
  stopping: AbortSignal;
}

/** Who we are to authorization servers, and how we reach them. */
interface OAuthDeps {
  fetch: GuardedFetch;
  /** Where logins come back to; known once the server listens. */
  redirectUri: () => string;
  /** Our client metadata document, if authorization servers can fetch it. */
  clientMetadataUrl: () => string | undefined;
}

/** The cache key of a connection, told to every process when its row changes. */
export function staleKey(namespace: string, id: string): string {
  return `connection:${namespace}/${id}`;
}
