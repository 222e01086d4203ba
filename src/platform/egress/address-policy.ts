import ipaddr from 'ipaddr.js';
import type { PrivateUpstreams } from '../config.ts';

/** The destination is one that this server does not connect to. `message` is safe to show. */
export class EgressDenied extends Error {
  readonly code = 'EGRESS_DENIED';

  constructor(message: string) {
    super(message);
    this.name = 'EgressDenied';
  }
}

/** Cloud metadata services outside the link-local ranges: never reachable, whatever is allowed. */
const metadataAddresses = new Set([
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  'fd00:ec2::254',
  'fd20:ce::254',
]);

/** Ranges an operator may open; everything else that is not public unicast stays closed. */
const openableRanges = new Set(['loopback', 'private', 'uniqueLocal', 'carrierGradeNat', 'benchmarking']);

export interface AddressPolicy {
  /**
   * Decides on one resolved address of `host`. Throws EgressDenied; the message names the host, never the
   * address, so that nobody maps an inside network by asking.
   */
  check(host: string, address: string): void;
}

/**
 * Builds the policy from the operator's setting. `local` says whether both the bind address and the public
 * URL are loopback, which is when loopback upstreams are allowed by default (design §5, Egress).
 */
export function createAddressPolicy(allowed: PrivateUpstreams, local: boolean): AddressPolicy {
  return {
    check(host, address) {
      if (!ipaddr.isValid(address)) throw new EgressDenied(`refused: "${host}" has no usable address`);
      // Unmaps ::ffff:a.b.c.d, so that a mapped address is judged as the IPv4 address that it reaches.
      const parsed = ipaddr.process(address);
      const range: string = parsed.range();
      if (metadataAddresses.has(parsed.toString()) || range === 'linkLocal') {
        throw new EgressDenied(`refused: "${host}" is a link-local or metadata address`);
      }
      if (range === 'unicast' && isGlobal(parsed)) return;
      if (openableRanges.has(range) && isAllowed(allowed, local, host, parsed, range)) return;
      throw new EgressDenied(
        `refused: "${host}" is a private address; the operator can allow it with PATCHBAY_ALLOW_PRIVATE_UPSTREAMS`,
      );
    },
  };
}

/**
 * IPv6 assigns global unicast below 2000::/3 only (RFC 4291 §2.4); what else has no special range, such as the
 * old IPv4-compatible ::a.b.c.d, leads nowhere that an upstream could be.
 */
function isGlobal(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return address.kind() === 'ipv4' || address.match(ipaddr.parse('2000::'), 3);
}

function isAllowed(
  allowed: PrivateUpstreams,
  local: boolean,
  host: string,
  address: ipaddr.IPv4 | ipaddr.IPv6,
  range: string,
): boolean {
  switch (allowed.kind) {
    case 'all':
      return true;
    case 'none':
      return false;
    case 'loopback-while-local':
      return local && range === 'loopback';
    case 'list':
      return (
        allowed.hosts.includes(host.toLowerCase()) ||
        allowed.ranges.some(
          ([network, bits]) => network.kind() === address.kind() && address.match(network, bits),
        )
      );
  }
}
