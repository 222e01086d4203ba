import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { App } from '../deps.ts';

/** What an upgrade hands over besides its request. */
export interface Upgrade {
  socket: Duplex;
  /** The first bytes after the handshake. */
  head: Buffer;
}

/** The upgrades under way, by their requests. */
export type Upgrades = WeakMap<IncomingMessage, Upgrade>;

/** Whether a request is to be upgraded; any other that asks for an upgrade is served as if it did not (RFC 9110 §7.8). */
export function isWebSocketUpgrade({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket';
}

/**
 * Sends upgrades through the routes like other requests, so that the same checks stand before them: the pairing address
 * of an uplink, `/{ns}/{id}` in every form, becomes `/uplink/{ns}/{id}`. What does not take the socket answers by HTTP.
 */
export function routeUpgrades(app: App): Upgrades {
  const upgrades: Upgrades = new WeakMap();
  app.server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    upgrades.set(request, { socket, head });
    request.url = pairingPath(request.url ?? '/');
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Parameters<ServerResponse['assignSocket']>[0]);
    response.on('finish', () => socket.end());
    app.routing(request, response);
  });
  return upgrades;
}

/**
 * The path of the route for a pairing address: `/{ns}/{id}`, or the same below `/connect` or `/uplink`. An id with slashes
 * may come as several segments (api.md §7). Any other path stays.
 */
export function pairingPath(url: string): string {
  const queryAt = url.indexOf('?');
  const path = queryAt === -1 ? url : url.slice(0, queryAt);
  const segments = path
    .replace(/^\/(connect|uplink)(?=\/)/, '')
    .split('/')
    .slice(1);
  const [namespace, ...id] = segments;
  if (!namespace || id.join('') === '') return url;
  return `/uplink/${namespace}/${id.join('%2F')}${queryAt === -1 ? '' : url.slice(queryAt)}`;
}
