import { Secret } from '../platform/secret.ts';
import type { ReachedConnection } from './reach.ts';

/**
 * The same connection, asked with the hops that the caller's request has come (`viaHeader`). A namespace may have a
 * connection to its own endpoint, which would else ask itself without end.
 */
export function withVia(reached: ReachedConnection, via: readonly string[]): ReachedConnection {
  const { target } = reached;
  return { ...reached, target: { ...target, headers: new Secret([...target.headers.reveal(), ...via]) } };
}
