import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { isIP } from 'node:net';
import { Agent, buildConnector } from 'undici';
import type { Limits } from '../limits.ts';
import { type AddressPolicy, EgressDenied } from './address-policy.ts';

export type Lookup = (
  host: string,
  answer: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

const dnsLookup: Lookup = (host, answer) => systemLookup(host, { all: true, verbatim: true }, answer);

/**
 * The only way out to a destination that a tenant, an upstream or a document can influence.
 *
 * Checks happen when a socket is opened: literals before connecting (undici asks no resolver for them), names
 * on the resolver's answer, and the socket is opened to just those addresses, so that nothing can change in
 * between. One bad address in an answer refuses the name (DNS rebinding). Redirects are not followed here;
 * whoever follows one comes back through here.
 */
export function createGuardedDispatcher(
  policy: AddressPolicy,
  limits: Limits,
  lookup: Lookup = dnsLookup,
): Agent {
  const connect = buildConnector({
    timeout: limits.connectMs,
    maxCachedSessions: 1000,
    lookup: (host, options, done) => {
      lookup(host, (error, addresses) => {
        const answer = done as (
          error: Error | null,
          address?: string | LookupAddress[],
          family?: number,
        ) => void;
        if (error) return answer(error);
        try {
          if (addresses.length === 0) throw new EgressDenied(`refused: "${host}" has no address`);
          for (const { address } of addresses) policy.check(host, address);
        } catch (denied) {
          return answer(denied as Error);
        }
        const wanted = addresses.filter(({ family }) => !options.family || options.family === family);
        if (options.all) return answer(null, wanted);
        const first = wanted[0] ?? addresses[0];
        answer(null, first?.address, first?.family);
      });
    },
  });
  return new Agent({
    connections: limits.socketsPerOrigin,
    keepAliveTimeout: limits.upstreamKeepAliveMs,
    maxHeaderSize: limits.upstreamHeaderBytes,
    // Whoever sends a request limits its time, by a signal or a deadline.
    headersTimeout: 0,
    bodyTimeout: 0,
    pipelining: 1,
    connect(options, callback) {
      const host = options.hostname.replace(/^\[|\]$/g, '');
      if (isIP(host) !== 0) {
        try {
          policy.check(host, host);
        } catch (denied) {
          callback(denied as Error, null);
          return;
        }
      }
      connect(options, callback);
    },
  });
}
