import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createAuditLog } from './audit/log.ts';
import { createAuditRetention } from './audit/retention.ts';
import { createCredentials } from './connections/credentials.ts';
import { createHealer } from './connections/heal.ts';
import { createRenewer } from './connections/oauth/renew.ts';
import { createObserver } from './connections/observe.ts';
import { createPinStore } from './connections/pins/pin-store.ts';
import { createResolver } from './connections/resolve.ts';
import { createSetupTickets } from './connections/setup/ticket.ts';
import { openHolder } from './connections/uplink/holder.ts';
import { createPairings } from './connections/uplink/pairings.ts';
import { createCourier } from './connections/webhooks/deliver.ts';
import { LiveSessions } from './gateway/bridge/live-sessions.ts';
import { createSessionMail } from './gateway/bridge/session-mail.ts';
import { openSessionWishes } from './gateway/bridge/session-wishes.ts';
import { createSuspendedCalls } from './gateway/bridge/suspended-calls.ts';
import { createCallerSessions } from './gateway/caller-sessions.ts';
import { Deadlines } from './gateway/deadlines.ts';
import { openEndedSessions } from './gateway/ended-sessions.ts';
import { createFreshLists } from './gateway/fresh-lists.ts';
import { CallerLinks } from './gateway/link/caller-links.ts';
import { createListMemory } from './gateway/list-memory.ts';
import { Membership } from './gateway/namespace/membership.ts';
import { OpenStreams } from './gateway/open-streams.ts';
import { createToolGuard } from './gateway/tool-guard.ts';
import { createAllowList, isLoopbackHost } from './http/allow-list.ts';
import { createApp } from './http/app.ts';
import type { App, HttpDeps } from './http/deps.ts';
import { createBrowserGuard } from './http/pages/browser-guard.ts';
import { callbackPath, clientMetadataPath } from './http/setup/paths.ts';
import { singleSignOnCallbackPath } from './http/sign-in/paths.ts';
import { createKeyVerifier } from './identity/api-keys/verify.ts';
import { createAuthenticator } from './identity/authenticate.ts';
import { ensureFirstOrganization } from './identity/first-start.ts';
import { createNamespaceDirectory } from './identity/namespaces.ts';
import { createQuotas } from './identity/quotas.ts';
import { createCliLogins } from './identity/sign-in/cli-logins.ts';
import { createSingleSignOn } from './identity/sign-in/single-sign-on.ts';
import { createSigningKeys } from './identity/tokens/signing-keys.ts';
import { createTokenVerifier } from './identity/tokens/verify.ts';
import { type Clock, systemClock } from './platform/clock.ts';
import type { Config } from './platform/config.ts';
import { prepareDataDirectory } from './platform/data-directory.ts';
import { createAddressPolicy } from './platform/egress/address-policy.ts';
import { createGuardedDispatcher, type Lookup } from './platform/egress/dispatcher.ts';
import { createGuardedFetch } from './platform/egress/guarded-fetch.ts';
import { openKeyring } from './platform/keyring.ts';
import { defaultLimits, type Limits } from './platform/limits.ts';
import type { Logger } from './platform/logger.ts';
import type { Secret } from './platform/secret.ts';
import { openStore } from './platform/store/store.ts';
import { createHub } from './uplink/hub.ts';
import { ChangeFeed } from './upstream/change-feed.ts';
import { Circuits } from './upstream/circuits.ts';
import { createOwnSessions } from './upstream/own-sessions.ts';
import { createSessionLeases } from './upstream/session-leases.ts';
import { createSessionPool } from './upstream/sessions.ts';
import { introduceSse } from './upstream/sse/open-session.ts';
import { createSsePool } from './upstream/sse/pool.ts';
import { LocalBus } from './upstream/uplink/bus.ts';
import { createUplinkSessions } from './upstream/uplink/sessions.ts';

/** The running program, as `main.ts` and the tests hold it. */
export interface Patchbay {
  app: App;
  /** What clients call; known for certain once `listen` has resolved. */
  publicUrl: () => URL;
  /** The API key that the first start made; undefined at every later one. */
  firstKey: Secret<string> | undefined;
  listen(): Promise<void>;
  /** Takes no more requests, lets answers under way finish, and closes everything. */
  close(): Promise<void>;
}

/** What tests replace. */
export interface Replaceable {
  clock?: Clock;
  limits?: Partial<Limits>;
  lookup?: Lookup;
}

/**
 * Joins the parts: read it from the top and you know the program. Each room gets what it needs from here and
 * finds nothing by itself. Throws what cannot be started with: DataDirectoryUnusable, DataDirectoryInUse,
 * MasterKeyError, or the database's error.
 */
export async function compose(config: Config, log: Logger, replaced: Replaceable = {}): Promise<Patchbay> {
  const clock = replaced.clock ?? systemClock;
  const limits = { ...defaultLimits, ...config.limits, ...replaced.limits };

  // Known for certain once the server listens; every link that leaves it needs it.
  let listening: AddressInfo | undefined;
  const publicUrl = () => config.publicUrl ?? boundUrl(config.host, listening?.port ?? config.port);

  // Platform: the store, the keys that seal, the one way out.
  await prepareDataDirectory(config.dataDir);
  const store = await openStore(config);
  try {
    const keyring = await openKeyring(store, clock, config.dataDir, config.masterKey);
    const isLocal = isLoopbackHost(config.host) && isLoopbackHost(config.publicUrl?.hostname ?? config.host);
    const policy = createAddressPolicy(config.privateUpstreams, isLocal);
    const dispatcher = createGuardedDispatcher(policy, limits, replaced.lookup);

    // Identity: who calls, and which namespaces are theirs.
    const firstKey = await ensureFirstOrganization(store, clock, config.apiKey);
    const signingKeys = createSigningKeys({ store, keyring, clock, limits });
    const authenticator = createAuthenticator(
      createKeyVerifier(store, clock, limits),
      createTokenVerifier({ store, signingKeys, clock, limits }),
    );
    const namespaces = createNamespaceDirectory(store, limits);
    const cliLogins = createCliLogins({ store, clock, limits }, keyring);
    const { oidcIssuer: issuer, oidcClientId: clientId, oidcClientSecret: clientSecret } = config;
    const redirectUri = () => new URL(singleSignOnCallbackPath, publicUrl()).href;
    const sso =
      issuer && clientId !== undefined
        ? createSingleSignOn({ clock, limits, keyring, redirectUri }, { issuer, clientId, clientSecret })
        : undefined;
    const quotas = createQuotas(clock, limits, namespaces.limitsOf);

    // Audit: what was done, and by whom.
    const stop = new AbortController();
    const audit = createAuditLog({ store, clock, limits, log });
    const retention = createAuditRetention({ store, clock, limits, log, stopping: stop.signal });

    // Upstream and connections: reaching servers, and knowing how they are.
    const transport = { dispatcher, limits };
    const feed = new ChangeFeed();
    const holder = await openHolder({ store, clock, limits, log, stopping: stop.signal });
    const bus = new LocalBus(holder.id);
    const leases = createSessionLeases(transport, clock, feed, bus);
    const ownOverSse = createOwnSessions((...rest) => introduceSse(transport, ...rest), limits, clock);
    const ownInTunnels = createOwnSessions(
      async (target, client, onMessage, deadline) => {
        const session = await bus.open(target, client, true, deadline);
        await session.listen(onMessage);
        return session;
      },
      limits,
      clock,
    );
    const sessions = createSessionPool(transport, clock, leases, {
      sse: createSsePool(transport, clock, ownOverSse),
      uplink: createUplinkSessions(bus, ownInTunnels, limits),
    });
    const circuits = new Circuits(clock, limits);
    const courier = createCourier({ store, keyring, clock, limits, log, transport, stopping: stop.signal });
    const oauth = {
      fetch: createGuardedFetch(dispatcher, limits),
      redirectUri: () => new URL(callbackPath, publicUrl()).href,
      clientMetadataUrl: () =>
        config.oauthClientMetadataUrl?.href ??
        (publicUrl().protocol === 'https:' ? new URL(clientMetadataPath, publicUrl()).href : undefined),
    };
    const base = {
      store,
      keyring,
      clock,
      limits,
      log,
      transport,
      sessions,
      circuits,
      oauth,
      wakeCourier: courier.wake,
      stopping: stop.signal,
    };
    const renewer = createRenewer(base);
    const credentials = createCredentials(base, renewer);
    const connections = { ...base, credentials };
    const healer = createHealer(connections);
    const resolver = createResolver(connections, credentials);
    const observer = createObserver(connections, healer, resolver);
    const pins = createPinStore(base);
    const pairings = createPairings({ ...base, hub: createHub(clock, limits), bus, feed, holder });

    // Gateway: the data plane.
    const deadlines = new Deadlines(clock);
    const relay = { dispatcher, limits, deadlines, elapsed: clock.elapsed };
    const streams = new OpenStreams(limits.streamsPerOrigin);
    const tickets = createSetupTickets(keyring, clock, limits, publicUrl);
    const live = new LiveSessions();
    const gateway = {
      ...connections,
      resolver,
      observer,
      healer,
      relay,
      callerSessions: createCallerSessions(
        keyring,
        clock.now,
        limits.callerSessionMs,
        await openEndedSessions(store, clock, (idHash) => live.end(idHash)),
      ),
      streams,
      callerLinks: new CallerLinks(),
      listMemory: createListMemory(limits),
      freshLists: createFreshLists(limits, feed),
      toolGuard: createToolGuard(pins, namespaces.quarantines, limits),
      membership: new Membership(store),
      leases,
      feed,
      suspended: createSuspendedCalls(keyring, clock.now, limits),
      live,
      mail: createSessionMail(store, keyring, clock, limits, log, live),
      wishes: await openSessionWishes(store, clock, limits, (idHash) => live.changed(idHash)),
      setupUrl: tickets.urlOf,
    };

    // HTTP: the one origin.
    const allowList = createAllowList(publicUrl, config.allowedHosts, config.allowedOrigins);
    const browsers = createBrowserGuard(keyring, publicUrl);
    const deps: HttpDeps = {
      ...gateway,
      audit,
      authenticator,
      signingKeys,
      namespaces,
      pairings,
      quotas,
      pins,
      allowList,
      tickets,
      browsers,
      cliLogins,
      sso,
    };
    const app = await createApp(deps, publicUrl);
    const unused = trackUnusedSockets(app.server);

    return {
      app,
      publicUrl,
      firstKey,
      async listen() {
        const address = await app.listen({ host: config.host, port: config.port });
        log.info(`Patchbay listens on ${address}`);
        listening = app.server.address() as AddressInfo;
      },
      async close() {
        // Sockets fall idle one by one, as their answers end; kept alive they would hold the drain up.
        const idle = setInterval(() => app.server.closeIdleConnections(), 50);
        for (const socket of unused) socket.destroy();
        streams.closeAll();
        const cutOff = setTimeout(() => app.server.closeAllConnections(), limits.drainMs);
        await Promise.all([app.close(), pairings.drain()]);
        clearInterval(idle);
        clearTimeout(cutOff);
        stop.abort(new Error('the program stops'));
        await healer.settled();
        await renewer.settled();
        await courier.settled();
        await holder.close();
        await observer.settled();
        gateway.suspended.close();
        await sessions.close();
        await retention.settled();
        await audit.close();
        await dispatcher.destroy();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Sockets that have not brought a request yet: Node counts them as busy, and a shutdown would wait for them. */
function trackUnusedSockets(server: Server): ReadonlySet<Socket> {
  const unused = new Set<Socket>();
  server.on('connection', (socket) => {
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  server.on('request', ({ socket }) => unused.delete(socket));
  server.on('upgrade', ({ socket }) => unused.delete(socket));
  return unused;
}

function boundUrl(host: string, port: number): URL {
  return new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}`);
}
