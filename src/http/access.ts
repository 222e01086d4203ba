import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import type { Connection } from '../connections/connection.ts';
import type { MetadataGuard } from '../connections/metadata-guard.ts';
import {
  connectionRefusal,
  isGranted,
  missingPermission,
  namespaceRefusal,
  notAdmin,
  permits,
} from '../identity/permits.ts';
import { bearerToken, type Principal } from '../identity/principal.ts';
import { rateLimitHeaders, type Usage } from '../identity/quotas.ts';
import { findBrowserSession, principalOfSession } from '../identity/sign-in/browser-sessions.ts';
import { ApiError } from '../platform/errors.ts';
import { beginEntry } from './audit-request.ts';
import { resourceMetadataUrl } from './connect/protected-resource.ts';
import type { App, HttpDeps } from './deps.ts';
import type { PageCookie } from './pages/page-cookie.ts';
import { sessionCookie } from './sign-in/session-cookie.ts';

/** Headers of every answer. */
export const standingHeaders = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' } as const;

/** The first check of all: not while closing, and only under a known Host. Register it before any other hook. */
export function guardHost(app: App, deps: HttpDeps, isClosing: () => boolean): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(standingHeaders);
    const refusal = isClosing() ? shuttingDown() : checkHost(deps, request);
    done(refusal);
  });
}

/**
 * The checks before any route runs, in this order: Origin, credential, namespace, permission there, quotas; and, once the
 * body is read, the connection. Each is answered from memory when it can be, so that a warm request awaits nothing here.
 */
export function guardAccess(app: App, deps: HttpDeps, publicUrl: () => URL): void {
  const cookie = sessionCookie(deps.limits, publicUrl);
  app.decorateRequest('principal', null as unknown as Principal);
  app.decorateRequest('usage', null as unknown as Usage);
  app.decorateRequest('entry', null);
  app.addHook('onRequest', (request, reply, done) => {
    const refusal = checkOrigin(deps, request);
    if (refusal) return done(refusal);
    authorize(deps, cookie, request, (refused) => {
      const error = refused ?? (request.principal && meter(deps, request, reply));
      if (!error && request.principal) beginEntry(deps, request, reply);
      if (error instanceof ApiError && error.status === 401) {
        reply.header('www-authenticate', challenge(error, request, publicUrl()));
      }
      done(error);
    });
  });
  app.addHook('preHandler', (request, _reply, done) => guardConnection(deps, request, done));
}

/** For requests on sockets that outlive the listener; nothing has run, so the client may repeat it elsewhere. */
function shuttingDown(): ApiError {
  return new ApiError('shutting_down', { retryable: true, headers: { connection: 'close' } });
}

function checkHost({ allowList }: HttpDeps, request: FastifyRequest): ApiError | undefined {
  return allowList.allowsHost(request.headers.host) ? undefined : new ApiError('host_not_allowed');
}

function checkOrigin({ allowList }: HttpDeps, request: FastifyRequest): ApiError | undefined {
  const { origin } = request.headers;
  if (origin === undefined || !request.routeOptions.config.checkOrigin) return undefined;
  return allowList.allowsOrigin(origin) ? undefined : new ApiError('origin_not_allowed');
}

function authorize(
  deps: HttpDeps,
  cookie: PageCookie,
  request: FastifyRequest,
  done: (error?: Error) => void,
): void {
  const { permission } = request.routeOptions.config;
  if (permission === 'public' || request.is404) return done();
  let verified: Principal | undefined | Promise<Principal | undefined>;
  try {
    const { authorization } = request.headers;
    const session = authorization === undefined ? ownPageCookie(cookie, request) : undefined;
    verified =
      session === undefined
        ? deps.authenticator.verify(bearerToken(authorization))
        : verifySession(deps, session);
  } catch (error) {
    return done(error as Error);
  }
  if (verified instanceof Promise) verified.then((principal) => admit(deps, request, principal, done), done);
  else admit(deps, request, verified, done);
}

/**
 * The session of a signed-in browser, on a request of a page of ours: a browser tells so in a header that no page can set
 * (Fetch Metadata §2.3), and sends it with no request that another site brought about. MCP endpoints and tunnels take
 * none.
 */
function ownPageCookie(cookie: PageCookie, request: FastifyRequest): string | undefined {
  const { errors, checkOrigin } = request.routeOptions.config;
  if (errors === 'jsonrpc' || checkOrigin || request.headers['sec-fetch-site'] !== 'same-origin') return;
  return cookie.read(request);
}

/** Throws ApiError `forbidden` for a user who is member of no organization. */
async function verifySession(deps: HttpDeps, value: string): Promise<Principal | undefined> {
  const session = await findBrowserSession(deps, value);
  const principal = session && principalOfSession(session);
  if (session && !principal) {
    throw new ApiError('forbidden', {
      message: 'You are member of no organization here: ask for an invitation, or switch to another one.',
    });
  }
  return principal;
}

/**
 * What a caller without a good credential is told (RFC 6750 §3): an error code only where one came. MCP clients follow
 * `resource_metadata` (RFC 9728 §5.1).
 */
function challenge({ code }: ApiError, request: FastifyRequest, publicUrl: URL): string {
  const parts: string[] = [];
  if (code === 'invalid_token') parts.push('error="invalid_token"');
  if (request.routeOptions.config.protectedResource) {
    const [path = ''] = request.url.split('?');
    parts.push(`resource_metadata="${resourceMetadataUrl(publicUrl, path)}"`);
  }
  return ['Bearer', parts.join(', ')].join(' ').trim();
}

function admit(
  deps: HttpDeps,
  request: FastifyRequest,
  principal: Principal | undefined,
  done: (error?: Error) => void,
): void {
  if (!principal) return done(new ApiError('invalid_token'));
  request.principal = principal;
  const { permission = 'public', inNamespace, namespaceParameter } = request.routeOptions.config;
  const parameter = inNamespace ? 'namespace' : namespaceParameter;
  const params = request.params as Record<string, string | undefined>;
  const namespace = parameter === undefined ? undefined : params[parameter];
  // Also where there is no such organization: nobody learns which there are.
  if (params.orgId !== undefined && params.orgId !== principal.organizationId) return done(notAdmin());
  if (!inNamespace) return done(namespaceRefusal(principal, permission, namespace));
  const owned = deps.namespaces.owns(principal, namespace as string);
  const decide = (owns: boolean) =>
    done(owns ? namespaceRefusal(principal, permission, namespace) : new ApiError('namespace_not_found'));
  if (owned instanceof Promise) owned.then(decide, done);
  else decide(owned);
}

/** Counts the request against the quotas of its caller and namespace, until its response closes. */
function meter(deps: HttpDeps, request: FastifyRequest, reply: FastifyReply): ApiError | undefined {
  const { permission, inNamespace, errors } = request.routeOptions.config;
  const { namespace } = request.params as { namespace?: string };
  try {
    const isCall = permission === 'connections:execute';
    const usage = deps.quotas.admit(request.principal, inNamespace ? namespace : undefined, isCall);
    request.usage = usage;
    // Who went away while its credential was looked up has closed already.
    if (isCall && reply.raw.closed) usage.end();
    else if (isCall) reply.raw.once('close', () => usage.end());
    // On an MCP endpoint the headers are those of its upstream.
    if (errors !== 'jsonrpc') reply.headers(rateLimitHeaders(usage.tightest()));
    return undefined;
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
}

/**
 * Holds a token that is bound to metadata to its connections, on each route that names one. It runs as late as can be,
 * right before the handler: what is checked is what the handler finds. The data plane checks the connection that it
 * calls by itself (gateway/reach.ts).
 */
function guardConnection(
  { resolver }: HttpDeps,
  request: FastifyRequest,
  done: (error?: Error) => void,
): void {
  const { principal } = request;
  const { permission = 'public', mayCreate } = request.routeOptions.config;
  const { namespace, connectionId } = request.params as { namespace: string; connectionId?: string };
  if (!principal || principal.policies.length === 0 || connectionId === undefined) return done();
  if (!isGranted(permission) || permission === 'connections:execute') return done();
  const decide = (connection: Connection | undefined) => {
    if (connection) done(connectionRefusal(principal, permission, namespace, connection.metadata));
    else done(mayCreate ? undefined : new ApiError('connection_not_found'));
  };
  const found = resolver.find(namespace, connectionId);
  if (found instanceof Promise) found.then(decide, done);
  else decide(found);
}

/** Holds what a caller writes to the connections that it may write. */
export function writeGuard(principal: Principal, namespace: string): MetadataGuard {
  return {
    is(metadata) {
      const refusal = connectionRefusal(principal, 'connections:write', namespace, metadata);
      if (refusal) throw refusal;
    },
    becomes(metadata) {
      const { policies } = principal;
      const permission = 'connections:write';
      if (policies.length === 0 || permits(policies, { permission, namespace, metadata })) return;
      const { message } = missingPermission(permission, namespace);
      throw new ApiError('forbidden', { message: `${message} for a connection with this metadata` });
    },
  };
}

/** Refuses to start if a route has no declared permission: an open route must be open on purpose. */
export function requireDeclaredPermissions(app: App): void {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    routes.push(route);
  });
  app.addHook('onReady', async () => {
    const undeclared = routes
      // The CORS plugin answers preflights, which carry no credentials.
      .filter(({ method, config }) => method !== 'OPTIONS' && !config?.permission)
      .map(({ method, url }) => `${method} ${url}`);
    if (undeclared.length > 0)
      throw new Error(`Routes without a declared permission: ${undeclared.join(', ')}`);
  });
}
