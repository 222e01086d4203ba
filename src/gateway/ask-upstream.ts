import { ApiError } from '../platform/errors.ts';
import { CredentialsRefused, UpstreamFault } from '../upstream/fault.ts';
import type { GatewayDeps } from './deps.ts';
import { type ReachedConnection, type RefuseWaiting, recover } from './reach.ts';

/**
 * Runs `work`, which asks the upstream, and again with renewed credentials if they were refused. Keeps the status
 * true. `refuse` says that the connection waits for its user, as `.tools` does unless told. Throws ApiError.
 */
export async function askUpstream<T>(
  deps: GatewayDeps,
  reached: ReachedConnection,
  caller: AbortSignal,
  work: (current: ReachedConnection) => Promise<T>,
  refuse: RefuseWaiting = refuseWaitingTools(deps),
  recoveries = 0,
): Promise<T> {
  deps.circuits.enter(reached.target, caller);
  try {
    const result = await work(reached);
    deps.observer.succeeded(reached.connection);
    return result;
  } catch (error) {
    if (!(error instanceof UpstreamFault)) throw error;
    if (error instanceof CredentialsRefused && !caller.aborted) {
      const again = await recover(deps, reached, error, refuse, recoveries);
      return askUpstream(deps, again, caller, work, refuse, recoveries + 1);
    }
    if (!caller.aborted) deps.observer.failed(reached.connection, error);
    throw error.toApiError();
  }
}

/** `.tools` of a connection that waits for its user: 422 with the setup URL in the message (design §8). */
export function refuseWaitingTools({ setupUrl }: GatewayDeps): RefuseWaiting {
  return (connection, status) =>
    new ApiError(status.state, {
      message: `${status.state === 'auth_required' ? 'The connection needs a login.' : 'The connection needs values from its user.'} Open ${setupUrl(connection)}`,
    });
}
