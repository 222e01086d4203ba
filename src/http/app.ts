import { createServer } from 'node:http';
import cors from '@fastify/cors';
import Fastify from 'fastify';
import { validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { guardAccess, guardHost, requireDeclaredPermissions } from './access.ts';
import { exportAuditRoute } from './audit/export-audit.ts';
import { listAuditRoute } from './audit/list-audit.ts';
import { createFastPath } from './connect/fast-path.ts';
import { mcpEndpointRoutes, mcpPath } from './connect/mcp-endpoint.ts';
import { namespaceEndpointRoutes } from './connect/namespace-endpoint.ts';
import { protectedResourceRoutes } from './connect/protected-resource.ts';
import { connectRoutes } from './connect/routes.ts';
import type { App, HttpDeps } from './deps.ts';
import { serveDocumentation } from './documentation.ts';
import { answerClientError, answerErrors, answerFrameworkError } from './error-answer.ts';
import { healthRoute } from './health.ts';
import { readJsonBodies } from './json-body.ts';
import { createNamespaceRoute } from './namespaces/create-namespace.ts';
import { deleteNamespaceRoute } from './namespaces/delete-namespace.ts';
import { listNamespacesRoute } from './namespaces/list-namespaces.ts';
import { createOAuthClientRoute } from './namespaces/oauth-clients/create-oauth-client.ts';
import { deleteOAuthClientRoute } from './namespaces/oauth-clients/delete-oauth-client.ts';
import { listOAuthClientsRoute } from './namespaces/oauth-clients/list-oauth-clients.ts';
import { setNamespaceRoute } from './namespaces/set-namespace.ts';
import { getSettingsRoute } from './namespaces/settings/get-settings.ts';
import { patchSettingsRoute } from './namespaces/settings/patch-settings.ts';
import { webhookRoutes } from './namespaces/webhooks/routes.ts';
import { collectSchemas, serveOpenApi } from './openapi.ts';
import { organizationRoutes } from './organizations/routes.ts';
import { listServersRoute } from './servers/list-servers.ts';
import { clientMetadataRoute } from './setup/client-metadata.ts';
import { oauthCallbackRoute } from './setup/oauth-callback.ts';
import { setupPageRoutes } from './setup/setup-page.ts';
import { signInRoutes } from './sign-in/routes.ts';
import { createTokenRoute } from './tokens/create-token.ts';
import { jwksRoute } from './tokens/jwks.ts';
import { revokeTokenRoute } from './tokens/revoke-token.ts';
import { pairRoute } from './uplink/pair.ts';
import { isWebSocketUpgrade } from './uplink/upgrades.ts';

/** Builds the one origin: every API, and what guards it. Not yet listening. */
export async function createApp(deps: HttpDeps, publicUrl: () => URL): Promise<App> {
  const { limits, log } = deps;
  let closing = false;
  const isClosing = () => closing;
  const fastPath = createFastPath(deps, isClosing);
  // It has no logger: one of its own for each request, and listeners for two lines about it, cost a call one part in twenty
  // (docs/performance.md). What fails is logged where it is answered.
  const app: App = Fastify({
    serverFactory: (framework) =>
      createServer(
        {
          requestTimeout: limits.requestReceiveMs,
          headersTimeout: limits.requestReceiveMs,
          connectionsCheckingInterval: limits.requestCheckMs,
          keepAliveTimeout: limits.downstreamKeepAliveMs,
          shouldUpgradeCallback: isWebSocketUpgrade,
        },
        (request, response) => {
          if (!fastPath(request, response)) framework(request, response);
        },
      ),
    bodyLimit: limits.restBodyBytes,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: limits.pathParameterChars, ignoreTrailingSlash: true },
    frameworkErrors: answerFrameworkError(log),
    clientErrorHandler: answerClientError,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  // Answers are built from typed values; checking them again is the contract suite's work.
  app.setSerializerCompiler(() => (answer) => JSON.stringify(answer));

  app.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  requireDeclaredPermissions(app);
  answerErrors(app, log);
  readJsonBodies(app, limits);
  // Before CORS, which answers preflights by itself.
  guardHost(app, deps, isClosing);
  await app.register(cors, {
    origin: (origin, answer) => answer(null, origin !== undefined && deps.allowList.allowsOrigin(origin)),
    methods: ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'],
    exposedHeaders: [
      'mcp-session-id',
      'retry-after',
      'x-should-retry',
      'www-authenticate',
      'ratelimit-limit',
      'ratelimit-remaining',
      'ratelimit-reset',
    ],
    maxAge: 600,
  });
  guardAccess(app, deps, publicUrl);
  await collectSchemas(app);

  healthRoute(app, deps);
  listNamespacesRoute(app, deps);
  createNamespaceRoute(app, deps);
  setNamespaceRoute(app, deps);
  deleteNamespaceRoute(app, deps);
  getSettingsRoute(app, deps);
  patchSettingsRoute(app, deps);
  listOAuthClientsRoute(app, deps);
  createOAuthClientRoute(app, deps);
  deleteOAuthClientRoute(app, deps);
  webhookRoutes(app, deps);
  organizationRoutes(app, deps, publicUrl);
  listAuditRoute(app, deps);
  exportAuditRoute(app, deps);
  createTokenRoute(app, deps);
  revokeTokenRoute(app, deps);
  jwksRoute(app, deps);
  listServersRoute(app);
  setupPageRoutes(app, deps);
  oauthCallbackRoute(app, deps);
  clientMetadataRoute(app, deps);
  signInRoutes(app, deps, publicUrl);
  pairRoute(app, deps);
  await app.register(async (scope: App) => connectRoutes(scope, deps), { prefix: '/connect' });
  namespaceEndpointRoutes(app, deps);
  protectedResourceRoutes(app, publicUrl);
  await app.register(async (scope: App) => {
    // The same routes once more; the document describes them once.
    scope.addHook('onRoute', (route) => {
      route.schema = { ...route.schema, hide: true };
    });
    connectRoutes(scope, deps);
    mcpEndpointRoutes(scope, deps, mcpPath);
  });
  serveOpenApi(app, publicUrl);
  serveDocumentation(app);
  return app;
}
