import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { AuditEntry } from '../audit/entry.ts';
import type { AuditLog } from '../audit/log.ts';
import type { PinStore } from '../connections/pins/pin-store.ts';
import type { SetupTickets } from '../connections/setup/ticket.ts';
import type { Pairings } from '../connections/uplink/pairings.ts';
import type { GatewayDeps } from '../gateway/deps.ts';
import type { Authenticator } from '../identity/authenticate.ts';
import type { NamespaceDirectory } from '../identity/namespaces.ts';
import type { Permission, Principal } from '../identity/principal.ts';
import type { Quotas, Usage } from '../identity/quotas.ts';
import type { CliLogins } from '../identity/sign-in/cli-logins.ts';
import type { SingleSignOn } from '../identity/sign-in/single-sign-on.ts';
import type { SigningKeys } from '../identity/tokens/signing-keys.ts';
import type { AllowList } from './allow-list.ts';
import type { BrowserGuard } from './pages/browser-guard.ts';

/** What the routes need, handed down from `compose.ts`. */
export interface HttpDeps extends GatewayDeps {
  audit: AuditLog;
  authenticator: Authenticator;
  signingKeys: SigningKeys;
  namespaces: NamespaceDirectory;
  pairings: Pairings;
  quotas: Quotas;
  pins: PinStore;
  allowList: AllowList;
  tickets: SetupTickets;
  browsers: BrowserGuard;
  cliLogins: CliLogins;
  /** undefined while no provider is set. */
  sso: SingleSignOn | undefined;
}

/** The Fastify instance, whose routes are typed by their zod schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Which shape a route's errors have (api.md §2). */
export type ErrorShape = 'connect' | 'registry' | 'jsonrpc';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route declares one; the app refuses to start otherwise. */
    permission?: Permission;
    errors?: ErrorShape;
    /** The path names a namespace, which the caller's organization must own. */
    inNamespace?: boolean;
    /** The path parameter that names a namespace, where it need not exist (yet). */
    namespaceParameter?: string;
    /** The connection that the path names may be made by the request. */
    mayCreate?: boolean;
    /** Each request is in the audit, under this method; `true` where its message names the method. */
    audit?: string | true;
    /** A caller without a good credential is told where the metadata of the resource is (RFC 9728 §5.1). */
    protectedResource?: boolean;
    /** Browser pages of other origins are refused, not only left without CORS headers. */
    checkOrigin?: boolean;
  }
  interface FastifyRequest {
    /** Set by `access.ts` on every route that is not public. */
    principal: Principal;
    /** Set with it. */
    usage: Usage;
    /** Set by `access.ts` on the routes that declare `audit`, and by the setup pages for a link that is real. */
    entry: AuditEntry | null;
  }
}
