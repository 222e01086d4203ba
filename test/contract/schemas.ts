import { z } from 'zod';

/**
 * What each endpoint may answer, written from the API reference and from nothing in `src`: a change of the
 * product's own schemas cannot move these along. Objects are strict, so a field too many fails as well.
 */

/** Text for a person: not empty, and nothing of our insides in it. */
const shownText = z
  .string()
  .min(1)
  .max(1500)
  .refine(
    (text) => !/node_modules|\bat .+\(.+:\d+\)|\.[jt]s:\d+|SQLITE|\bselect\b.+\bfrom\b/i.test(text),
    'shows a stack, a path or SQL',
  );

const isoTime = z.iso.datetime();

const inputFields = z.record(
  z.string(),
  z.strictObject({ label: z.string(), description: z.string().optional(), required: z.boolean().optional() }),
);

const statusSchema = z.discriminatedUnion('state', [
  z.strictObject({ state: z.literal('connected') }),
  z.strictObject({ state: z.literal('disconnected') }),
  // The vendor's SDK reads one of the two, its command line the other: both, and the same.
  z
    .strictObject({ state: z.literal('auth_required'), setupUrl: z.url(), authorizationUrl: z.url() })
    .refine(({ setupUrl, authorizationUrl }) => setupUrl === authorizationUrl, 'the two URLs differ'),
  z.strictObject({
    state: z.literal('input_required'),
    setupUrl: z.url(),
    http: z.strictObject({ headers: inputFields.optional(), query: inputFields.optional() }),
    missing: z.strictObject({ headers: z.array(z.string()), query: z.array(z.string()) }),
  }),
  z.strictObject({ state: z.literal('error'), message: shownText }),
]);

const iconSchema = z.strictObject({
  src: z.string(),
  mimeType: z.string().optional(),
  sizes: z.array(z.string()).optional(),
  theme: z.enum(['light', 'dark']).optional(),
});

const serverInfoSchema = z.strictObject({
  name: z.string(),
  version: z.string(),
  title: z.string().optional(),
  description: z.string().optional(),
  websiteUrl: z.string().optional(),
  icons: z.array(iconSchema).optional(),
});

const connectionSchema = z
  .strictObject({
    connectionId: z.string().min(1).max(255),
    name: z.string().min(1).max(255),
    transport: z.enum(['http', 'uplink']),
    mcpUrl: z.url().nullable(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    mock: z.strictObject({ enabled: z.literal(true), scenario: z.string().optional() }).optional(),
    iconUrl: z.string().nullable().optional(),
    createdAt: isoTime,
    status: statusSchema,
    serverInfo: serverInfoSchema.optional(),
  })
  .refine(
    ({ transport, mcpUrl }) => (transport === 'uplink') === (mcpUrl === null),
    'a URL at the wrong kind',
  );

const jsonSchema = z.looseObject({ type: z.literal('object') });

const toolSchema = z.strictObject({
  name: z.string().min(1),
  title: z.string().optional(),
  description: z.string().optional(),
  icons: z.array(iconSchema).optional(),
  inputSchema: jsonSchema,
  outputSchema: jsonSchema.optional(),
  annotations: z
    .strictObject({
      title: z.string().optional(),
      readOnlyHint: z.boolean().optional(),
      destructiveHint: z.boolean().optional(),
      idempotentHint: z.boolean().optional(),
      openWorldHint: z.boolean().optional(),
    })
    .optional(),
  execution: z
    .strictObject({ taskSupport: z.enum(['required', 'optional', 'forbidden']).optional() })
    .optional(),
  _meta: z.record(z.string(), z.unknown()).optional(),
});

const listMeta = z.record(z.string(), z.unknown()).optional();
const toolListSchema = z.strictObject({ tools: z.array(toolSchema), _meta: listMeta });

/** The upstream's own words, which pass as they are: only what MCP promises is looked at. */
const callToolResultSchema = z.looseObject({
  content: z.array(z.looseObject({ type: z.string() })),
  structuredContent: z.unknown().optional(),
  isError: z.boolean().optional(),
});

const errorSchema = z.strictObject({ error: z.string().regex(/^[a-z_]+$/), message: shownText });
const validationErrorSchema = z.strictObject({ error: z.literal('validation_error'), message: shownText });
const registryErrorSchema = z.strictObject({ error: shownText });

/** Either tools, or why there are none. */
const envelopeSchema = z.union([
  z.strictObject({ status: statusSchema, tools: z.array(toolSchema), _meta: listMeta }),
  z.strictObject({ status: statusSchema, error: errorSchema }),
]);

/** JSON-RPC 2.0, MCP 2026-07-28 and the Connect API define these; the rest of their range is not ours to use. */
const definedRpcCodes = [-32700, -32600, -32601, -32602, -32603, -32001, -32002, -32020, -32021, -32022];

const rpcErrorSchema = z.strictObject({
  jsonrpc: z.literal('2.0'),
  id: z.union([z.string(), z.number(), z.null()]),
  error: z.strictObject({
    code: z
      .int()
      .refine(
        (code) => definedRpcCodes.includes(code) || code < -32768 || code > -32000,
        'a reserved code that nothing defines',
      ),
    message: shownText,
    data: z.unknown().optional(),
  }),
});

const rpcAnswerSchema = z.union([
  z.strictObject({
    jsonrpc: z.literal('2.0'),
    id: z.union([z.string(), z.number()]),
    result: z.record(z.string(), z.unknown()),
  }),
  rpcErrorSchema,
]);

const namespaceNameSchema = z.string().regex(/^[a-z0-9-]{3,39}$/);
const namespaceSchema = z.strictObject({ name: namespaceNameSchema, createdAt: isoTime });
const count = z.int().min(0);
const paginationSchema = z.strictObject({
  currentPage: count,
  pageSize: count,
  totalPages: count,
  totalCount: count,
});

/** Own namespaces, as the list without a query has them. */
const ownNamespacesSchema = z.strictObject({ namespaces: z.array(namespaceSchema) });
const foundNamespacesSchema = z.strictObject({
  namespaces: z.array(z.strictObject({ name: namespaceNameSchema })),
  pagination: paginationSchema,
});

const settingsSchema = z.strictObject({
  returnUrls: z.array(z.url()),
  limits: z.record(z.string(), z.int().min(1)),
  quarantine: z.boolean(),
  auditDetail: z.boolean(),
});

const pinsSchema = z.strictObject({
  revision: z.int().min(0),
  tools: z.array(z.strictObject({ name: z.string(), hash: z.string() })),
  changes: z.array(
    z.strictObject({
      name: z.string(),
      kind: z.enum(['added', 'changed', 'removed']),
      since: isoTime,
      hash: z.string().optional(),
      pinnedHash: z.string().optional(),
      definition: z.unknown().optional(),
    }),
  ),
  instructions: z
    .strictObject({
      hash: z.string().nullable(),
      change: z
        .strictObject({ since: isoTime, hash: z.string().nullable(), text: z.string().optional() })
        .optional(),
    })
    .nullable(),
});

const milliseconds = z.int().min(1_000).nullable();
const connectionSettingsSchema = z.strictObject({
  callTimeoutMs: milliseconds,
  idleTimeoutMs: milliseconds,
  maxCallMs: milliseconds,
});

/** Without what proves it: its secret and its key are in no answer. */
const oauthClientSchema = z
  .strictObject({
    id: z.string().min(1),
    issuer: z.url().optional(),
    server: z.url().optional(),
    clientId: z.string().min(1),
    tokenEndpointAuthMethod: z.enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt']),
    grantType: z.enum(['authorization_code', 'client_credentials']),
    scope: z.string().optional(),
    createdAt: isoTime,
  })
  .refine(({ issuer, server }) => (issuer === undefined) !== (server === undefined), 'not one of the two');

const webhookSchema = z.strictObject({
  id: z.string().min(1),
  url: z.url(),
  events: z
    .array(z.enum(['connection.auth_required', 'connection.recovered', 'connection.tools_changed']))
    .min(1),
  createdAt: isoTime,
});
const newWebhookSchema = webhookSchema.extend({ secret: z.string().startsWith('whsec_') });
const deletedSchema = z.strictObject({ success: z.literal(true) });

const roleSchema = z.enum(['owner', 'admin', 'member']);

const memberSchema = z.strictObject({
  userId: z.string().startsWith('usr_'),
  name: z.string().min(1),
  email: z.string().nullable(),
  role: roleSchema,
  joinedAt: isoTime,
});

/** An invitation, never with its link. */
const invitationSchema = z.strictObject({
  id: z.string().startsWith('inv_'),
  role: roleSchema,
  createdAt: isoTime,
  expiresAt: isoTime,
});

/** An API key, never with its value. */
const apiKeySchema = z.strictObject({
  id: z.string().min(1),
  name: z.string().min(1).max(256),
  createdAt: isoTime,
  lastUsedAt: isoTime.nullable(),
  userId: z.string().startsWith('usr_').nullable(),
});
const newApiKeySchema = apiKeySchema
  .omit({ lastUsedAt: true, userId: true })
  .extend({ key: z.string().startsWith('pb_') });

const auditEntrySchema = z.strictObject({
  id: z.string().min(1),
  time: isoTime,
  principal: z.strictObject({
    kind: z.enum(['api_key', 'session', 'service_token']),
    keyId: z.string().nullable(),
    tokenId: z.string().nullable(),
    userId: z.string().nullable(),
  }),
  detail: z.unknown(),
  namespace: z.string().nullable(),
  connectionId: z.string().nullable(),
  method: z.string().min(1),
  tool: z.string().nullable(),
  outcome: z.enum(['ok', 'tool_error', 'rpc_error', 'failed', 'cancelled']),
  code: z.string().nullable(),
  status: z.int().nullable(),
  durationMs: z.int().min(0),
  bytesIn: z.int().min(0),
  bytesOut: z.int().min(0),
  traceId: z.string().nullable(),
});

/** Stands for a body that is no JSON document. */
export const jsonLines = z.string();

const connectErrors = {
  400: errorSchema,
  401: errorSchema,
  403: errorSchema,
  404: errorSchema,
  413: errorSchema,
  414: errorSchema,
  415: errorSchema,
  429: errorSchema,
};
const upstreamErrors = {
  422: errorSchema,
  502: errorSchema,
  503: errorSchema,
  504: errorSchema,
};
const registryErrors = {
  400: registryErrorSchema,
  401: registryErrorSchema,
  403: registryErrorSchema,
  404: registryErrorSchema,
  409: registryErrorSchema,
  413: registryErrorSchema,
  415: registryErrorSchema,
  429: registryErrorSchema,
};
/** An id that does not decode is refused before there is a route, and so in the general shape. */
const registryItemErrors = { ...registryErrors, 400: errorSchema };
const rpcErrors = Object.fromEntries(
  [400, 401, 403, 404, 405, 409, 413, 414, 415, 429, 502, 503, 504].map((status) => [status, rpcErrorSchema]),
);

/** By `METHOD /path`, then status. A status that is not here is a breach by itself. */
export const answerSchemas: Record<string, Record<number, z.ZodType>> = {
  'GET /connect/{namespace}': {
    200: z.strictObject({ connections: z.array(connectionSchema), nextCursor: z.string().nullable() }),
    ...connectErrors,
  },
  'POST /connect/{namespace}': { 201: connectionSchema, ...connectErrors, 400: validationErrorSchema },
  'GET /connect/{namespace}/{connectionId}': { 200: connectionSchema, ...connectErrors },
  'PUT /connect/{namespace}/{connectionId}': {
    200: connectionSchema,
    201: connectionSchema,
    ...connectErrors,
    400: validationErrorSchema,
    409: errorSchema,
  },
  'DELETE /connect/{namespace}/{connectionId}': { 200: deletedSchema, ...connectErrors },
  'POST /connect/{namespace}/{connectionId}/.setup': {
    200: z.strictObject({ setupUrl: z.url() }),
    ...connectErrors,
    400: validationErrorSchema,
  },
  'GET /connect/{namespace}/{connectionId}/.settings': { 200: connectionSettingsSchema, ...connectErrors },
  'PATCH /connect/{namespace}/{connectionId}/.settings': {
    200: connectionSettingsSchema,
    ...connectErrors,
    400: z.union([validationErrorSchema, errorSchema]),
  },
  'GET /connect/{namespace}/{connectionId}/.pins': { 200: pinsSchema, ...connectErrors },
  'POST /connect/{namespace}/{connectionId}/.pins': {
    200: pinsSchema,
    ...connectErrors,
    400: z.union([validationErrorSchema, errorSchema]),
    409: errorSchema,
  },
  'GET /connect/{namespace}/.tools': { 200: z.record(z.string(), envelopeSchema), ...connectErrors },
  'GET /connect/{namespace}/{connectionId}/.tools': {
    200: toolListSchema,
    ...connectErrors,
    ...upstreamErrors,
  },
  'GET /connect/{namespace}/{connectionId}/.tools/{toolPath}': {
    200: z.union([toolSchema, toolListSchema]),
    ...connectErrors,
    ...upstreamErrors,
  },
  'POST /connect/{namespace}/{connectionId}/.tools/{toolPath}': {
    200: callToolResultSchema,
    ...connectErrors,
    ...upstreamErrors,
    400: validationErrorSchema,
  },
  'POST /connect/{namespace}/{connectionId}/mcp': { 200: rpcAnswerSchema, ...rpcErrors },
  'GET /connect/{namespace}/{connectionId}/mcp': rpcErrors,
  'PUT /connect/{namespace}/{connectionId}/mcp': rpcErrors,
  'PATCH /connect/{namespace}/{connectionId}/mcp': rpcErrors,
  'DELETE /connect/{namespace}/{connectionId}/mcp': rpcErrors,
  'POST /mcp/{namespace}': { 200: rpcAnswerSchema, ...rpcErrors, 422: rpcErrorSchema },
  'GET /mcp/{namespace}': rpcErrors,
  'PUT /mcp/{namespace}': rpcErrors,
  'PATCH /mcp/{namespace}': rpcErrors,
  'DELETE /mcp/{namespace}': rpcErrors,
  'GET /namespaces': { 200: z.union([ownNamespacesSchema, foundNamespacesSchema]), ...registryErrors },
  'POST /namespaces': { 201: namespaceSchema, ...registryErrors },
  'PUT /namespaces/{name}': { 201: namespaceSchema, ...registryErrors },
  'DELETE /namespaces/{name}': {
    200: z.strictObject({ success: z.literal(true), name: namespaceNameSchema }),
    ...registryErrors,
  },
  'GET /namespaces/{namespace}/settings': { 200: settingsSchema, ...registryErrors },
  'PATCH /namespaces/{namespace}/settings': { 200: settingsSchema, ...registryErrors },
  'GET /namespaces/{namespace}/oauth-clients': {
    200: z.strictObject({ oauthClients: z.array(oauthClientSchema) }),
    ...registryErrors,
  },
  'POST /namespaces/{namespace}/oauth-clients': { 201: oauthClientSchema, ...registryErrors },
  'DELETE /namespaces/{namespace}/oauth-clients/{id}': { 200: deletedSchema, ...registryItemErrors },
  'GET /namespaces/{namespace}/webhooks': {
    200: z.strictObject({ webhooks: z.array(webhookSchema) }),
    ...registryErrors,
  },
  'POST /namespaces/{namespace}/webhooks': { 201: newWebhookSchema, ...registryErrors },
  'DELETE /namespaces/{namespace}/webhooks/{id}': { 200: deletedSchema, ...registryItemErrors },
  'POST /tokens': { 200: z.strictObject({ token: z.string().min(1), expiresAt: isoTime }), ...connectErrors },
  'DELETE /tokens/{name}': { 200: deletedSchema, ...connectErrors },
  'GET /organizations': {
    200: z.strictObject({
      organizations: z.array(z.strictObject({ id: z.string().min(1), name: z.string(), role: roleSchema })),
    }),
    ...registryErrors,
  },
  'GET /organizations/{namespace}/api-keys': {
    200: z.strictObject({ apiKeys: z.array(apiKeySchema) }),
    ...registryErrors,
  },
  'POST /organizations/{namespace}/api-keys': { 201: newApiKeySchema, ...registryErrors },
  'DELETE /organizations/{namespace}/api-keys/{id}': { 200: deletedSchema, ...registryErrors },
  'GET /organizations/{namespace}/members': {
    200: z.strictObject({ members: z.array(memberSchema) }),
    ...registryErrors,
  },
  'PATCH /organizations/{namespace}/members/{id}': { 200: deletedSchema, ...registryErrors },
  'DELETE /organizations/{namespace}/members/{id}': { 200: deletedSchema, ...registryErrors },
  'GET /organizations/{namespace}/invitations': {
    200: z.strictObject({ invitations: z.array(invitationSchema) }),
    ...registryErrors,
  },
  'POST /organizations/{namespace}/invitations': {
    201: invitationSchema.extend({ url: z.url() }),
    ...registryErrors,
  },
  'DELETE /organizations/{namespace}/invitations/{id}': { 200: deletedSchema, ...registryErrors },
  'GET /audit': {
    200: z.strictObject({ entries: z.array(auditEntrySchema), nextCursor: z.string().nullable() }),
    ...connectErrors,
  },
  'GET /audit/{name}': { 200: jsonLines, ...connectErrors },
  'GET /servers': {
    200: z.strictObject({ servers: z.array(z.never()), pagination: paginationSchema }),
    ...registryErrors,
  },
  'GET /health': { 200: z.strictObject({ status: z.string().min(1), timestamp: isoTime }) },
};
