import type { FastifyRequest } from 'fastify';
import { type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import type { Connection } from '../../connections/connection.ts';
import { ApiError } from '../../platform/errors.ts';
import { Tunnel } from '../../uplink/tunnel.ts';
import { connectionParams } from '../connect/parameters.ts';
import type { App, HttpDeps } from '../deps.ts';
import { holdCredential } from './hold-credential.ts';
import { routeUpgrades, type Upgrade } from './upgrades.ts';

const querySchema = z.object({
  force: z.enum(['0', '1', 'true', 'false']).optional(),
});

/** `GET /{ns}/{id}` as a WebSocket handshake: pairs the machine that opens it with the uplink (api.md §7). */
export function pairRoute(app: App, deps: HttpDeps): void {
  const { limits, pairings } = deps;
  const upgrades = routeUpgrades(app);
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: limits.uplinkFrameBytes,
    // What is small enough here must not become large when it is inflated.
    perMessageDeflate: false,
    // One frame a turn: who floods its tunnel does not keep the others waiting.
    allowSynchronousEvents: false,
    closeTimeout: limits.uplinkCloseMs,
  } as ConstructorParameters<typeof WebSocketServer>[0]);

  function open(request: FastifyRequest, { socket, head }: Upgrade): Promise<WebSocket> {
    return new Promise((resolve, reject) => {
      if (socket.destroyed) reject(new Error('the machine went away before it was paired'));
      socket.once('close', () => reject(new Error('the machine went away before it was paired')));
      sockets.handleUpgrade(request.raw, socket, head, resolve);
    });
  }

  app.get(
    '/uplink/:namespace/:connectionId',
    {
      config: {
        permission: 'connections:write',
        inNamespace: true,
        checkOrigin: true,
        audit: 'uplink/pair',
      },
      exposeHeadRoute: false,
      schema: { hide: true, params: connectionParams, querystring: querySchema },
    },
    async (request, reply) => {
      const { namespace, connectionId } = request.params;
      const upgrade = upgrades.get(request.raw);
      if (!upgrade) throw new ApiError('upgrade_required', { headers: { upgrade: 'websocket' } });
      requireHandshake(request);
      const connection = await deps.resolver.find(namespace, connectionId);
      if (!connection) throw new ApiError('connection_not_found');
      const force = request.query.force === '1' || request.query.force === 'true';
      const claimed = await pairings.claim(connection, force);
      reply.hijack();
      reply.raw.detachSocket(upgrade.socket as Parameters<typeof reply.raw.detachSocket>[0]);
      try {
        const tunnel = attach(deps, claimed, await open(request, upgrade));
        const { authorization } = request.headers;
        holdCredential(deps, { authorization, namespace, connectionId }, tunnel);
      } catch {
        upgrade.socket.destroy();
        await pairings.release(claimed);
        return;
      }
      if (!request.entry) return;
      request.entry.status = 101;
      deps.audit.record(request.entry);
    },
  );
}

function attach({ pairings, limits }: HttpDeps, claimed: Connection, socket: WebSocket): Tunnel {
  const tunnel = new Tunnel(socket, claimed.uid, claimed.targetVersion, limits);
  pairings.attach(claimed, tunnel);
  return tunnel;
}

/** Before anything is claimed: `ws` would refuse a bad handshake only when it is too late (RFC 6455 §4.2.1). */
function requireHandshake({ headers }: FastifyRequest): void {
  const key = headers['sec-websocket-key'];
  if (headers['sec-websocket-version'] !== '13' || !key || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    throw new ApiError('bad_request', { message: 'The WebSocket handshake is malformed.' });
  }
}
