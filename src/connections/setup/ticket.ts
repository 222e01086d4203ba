import { createHmac } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import { isSameSecret } from '../../platform/is-same-secret.ts';
import type { Keyring } from '../../platform/keyring.ts';
import type { Limits } from '../../platform/limits.ts';
import type { Connection } from '../connection.ts';

/**
 * Setup tickets: what makes a setup URL work in any browser, for an hour, until the setup is completed (design §8).
 * Signed and not stored, so that every process can make and check them.
 */
export interface SetupTickets {
  /** The address of the setup page of a connection, with a fresh ticket. */
  urlOf(connection: Connection): string;
  /** The same address for whoever holds a good ticket already: good for the connection as it is now, and no longer. */
  urlAfter(ticket: string, connection: Connection): string;
  /** Whether a ticket is good for the connection as it is now. */
  check(ticket: string, connection: Connection): 'good' | 'used' | 'expired' | 'invalid';
}

const macBytes = 24;

/** Builds them on a key of their own, derived from the master key. */
export function createSetupTickets(
  keyring: Keyring,
  clock: Clock,
  limits: Limits,
  publicUrl: () => URL,
): SetupTickets {
  const key = keyring.derive('setup tickets');

  function sign(uid: string, epoch: string, expiry: string): Buffer {
    const mac = createHmac('sha256', key.reveal()).update(`${uid}.${epoch}.${expiry}`).digest();
    return mac.subarray(0, macBytes);
  }

  function url(connection: Connection, expiry: string): string {
    const { uid, namespace, id, setupEpoch } = connection;
    const epoch = setupEpoch.toString(36);
    const ticket = `${epoch}.${expiry}.${sign(uid, epoch, expiry).toString('base64url')}`;
    return `${publicUrl().origin}/${namespace}/${encodeURIComponent(id)}/setup?ticket=${ticket}`;
  }

  return {
    urlOf: (connection) => url(connection, (clock.now() + limits.setupTicketMs).toString(36)),
    urlAfter: (ticket, connection) => url(connection, ticket.split('.')[1] ?? ''),
    check(ticket, { uid, setupEpoch }) {
      const [epoch = '', expiry = '', mac = ''] = ticket.length <= 200 ? ticket.split('.') : [];
      if (!isSameSecret(Buffer.from(mac, 'base64url'), sign(uid, epoch, expiry))) return 'invalid';
      if (Number.parseInt(epoch, 36) !== setupEpoch) return 'used';
      return Number.parseInt(expiry, 36) > clock.now() ? 'good' : 'expired';
    },
  };
}
