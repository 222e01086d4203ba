import { connectionRefusal } from '../../identity/permits.ts';
import { bearerToken } from '../../identity/principal.ts';
import { ApiError } from '../../platform/errors.ts';
import { Secret } from '../../platform/secret.ts';
import { closings, type Tunnel } from '../../uplink/tunnel.ts';
import type { HttpDeps } from '../deps.ts';

/** What a machine was let in with, and to what. */
interface Pairing {
  authorization: string | undefined;
  namespace: string;
  connectionId: string;
}

/**
 * Looks every `uplinkPingMs` whether a machine would still be let in, and hangs up where it would not: a tunnel must not outlive the key or
 * token that it was opened with, nor the permission.
 */
export function holdCredential(deps: HttpDeps, { authorization, ...at }: Pairing, tunnel: Tunnel): void {
  const { clock, limits, log } = deps;
  const token = new Secret(bearerToken(authorization));
  let cancel = () => {};
  const lookSoon = () => {
    cancel = clock.after(limits.uplinkPingMs, () => {
      mayStay(deps, token, at)
        .then((stays) => {
          if (tunnel.ended.aborted) return;
          if (stays) lookSoon();
          else tunnel.close(closings.forbidden);
        })
        .catch((error: unknown) => {
          // The store does not answer: nobody loses a tunnel for that.
          log.warn({ err: error }, 'the credential of a tunnel could not be looked at');
          if (!tunnel.ended.aborted) lookSoon();
        });
    });
  };
  tunnel.ended.addEventListener('abort', () => cancel());
  lookSoon();
}

async function mayStay(
  { authenticator, namespaces, resolver }: HttpDeps,
  token: Secret<string>,
  { namespace, connectionId }: Omit<Pairing, 'authorization'>,
): Promise<boolean> {
  try {
    const principal = await authenticator.verify(token.reveal());
    if (!principal || !(await namespaces.owns(principal, namespace))) return false;
    const connection = await resolver.find(namespace, connectionId);
    if (!connection) return false;
    return !connectionRefusal(principal, 'connections:write', namespace, connection.metadata);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return false;
    throw error;
  }
}
