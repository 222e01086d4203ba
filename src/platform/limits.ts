/**
 * Every limit of the program, in one place, with its unit in the name.
 *
 * `compose.ts` hands the object down; tests hand down smaller numbers instead of waiting.
 */
export const defaultLimits = {
  /** Largest REST request body. */
  restBodyBytes: 1024 * 1024,
  /** Largest JSON-RPC request body on an MCP endpoint; the MCP SDK's own default. */
  mcpBodyBytes: 4 * 1024 * 1024,
  /** Deepest nesting of a JSON request body. */
  jsonDepth: 128,
  /** Longest path segment the router matches: all that Node's limit on a request's head lets through. */
  pathParameterChars: 16 * 1024,
  /** Time a caller has to deliver a whole request (slow-loris), and how often that is looked at. */
  requestReceiveMs: 60_000,
  requestCheckMs: 2_000,
  /** Idle keep-alive of a caller's socket. */
  downstreamKeepAliveMs: 72_000,

  /** Time to open a TCP and TLS connection to an upstream. */
  connectMs: 8_000,
  /** A whole probe, every request of it together. Below the 30 s that create and set promise. */
  probeMs: 20_000,
  /** A probe with all that it leads to: a second one, and the search for a login. */
  lookMs: 28_000,
  /** How long a set starts over, each time with a probe, when other requests change the connection meanwhile. */
  setRetryMs: 8_000,
  /** The first question of a probe, so that a server that hangs on it can still be asked the other. */
  discoverMs: 8_000,
  /** Time and size of `/.well-known/mcp-config`, fetched beside a probe (design §8). */
  mcpConfigMs: 2_000,
  mcpConfigBytes: 64 * 1024,
  /** Listing tools, prompts or resources of one connection, all pages together. */
  listMs: 20_000,
  /** What one dead connection may cost `GET /{ns}/.tools`. */
  namespaceListMs: 5_000,
  /** How long a list of the namespace endpoint waits for upstreams, all together. */
  namespaceEndpointMs: 800,
  /** Time for the first byte of an answer to a call, and for the whole of one that is a JSON document. */
  callTimeoutMs: 120_000,
  /** Silence allowed on an SSE answer. */
  idleTimeoutMs: 300_000,
  /** Longest answer. */
  maxCallMs: 3_600_000,
  /** Bounds of what a connection may set for itself instead of `callTimeoutMs`, `idleTimeoutMs` and `maxCallMs`. */
  timeSettingMinMs: 1_000,
  callTimeoutMaxMs: 3_600_000,
  idleTimeoutMaxMs: 3_600_000,
  maxCallMaxMs: 24 * 60 * 60_000,
  /** Failures in a row that open the circuit of a connection, and how long it must have been failing. */
  circuitFailures: 5,
  circuitFailingMs: 500,
  /** Backoff of an open circuit: when the next call may try. */
  circuitOpenMinMs: 1_000,
  circuitOpenMaxMs: 30_000,
  /** Longest pause that an upstream is given when it asks for one (Retry-After). */
  retryAfterMaxMs: 5 * 60_000,
  /** Connections of which one process knows that their upstream fails or wants a pause. */
  circuits: 10_000,
  /** How long a session of a legacy caller lasts. */
  callerSessionMs: 24 * 60 * 60_000,
  /** Streams of callers that one upstream origin may have open: a third of its sockets, which calls need too. */
  streamsPerOrigin: 512,
  /** Silence after which an event stream carries a comment, so that no proxy in between closes it. */
  streamKeepAliveMs: 15_000,
  /** How old what was learned of an upstream's era may be before a probe asks again, beside the next call. */
  eraMaxAgeMs: 24 * 60 * 60_000,
  /** How long a call waits for what its upstream asks of the caller's user, and how many calls of one process do. */
  suspendedCallMs: 10 * 60_000,
  suspendedCalls: 10_000,
  /** How long a caller's reply or cancellation waits for the process that it is for. */
  sessionMailMs: 60_000,
  /** Rounds of questions that one call may ask. */
  questionRounds: 32,
  /** Longest JSON of what a client says of itself when it initializes, which its session id carries. */
  clientInfoBytes: 4096,
  /** Longest URI of a resource that a client may subscribe to. */
  resourceUriChars: 2048,
  /** Resources that one listener may subscribe to. */
  subscribedResources: 100,
  /** Longest pause that an upstream may ask for before a stream is resumed. */
  resumeMaxMs: 60_000,
  /** How long to wait for an upstream to confirm the end of a session. */
  endSessionMs: 1_000,

  /** Largest answer read into memory: discover, initialize, a page of tools, a tool result. */
  collectedAnswerBytes: 16 * 1024 * 1024,
  /** Deepest nesting of an answer that is read; deeper ones would overflow whoever writes them again. */
  answerDepth: 500,
  /** Largest answer passed through. */
  relayedAnswerBytes: 256 * 1024 * 1024,
  /** A JSON answer up to this size is held back until whole, so that a cut-off can still be a clean 502. */
  heldAnswerBytes: 64 * 1024,
  /** Largest answer head from an upstream. */
  upstreamHeaderBytes: 32 * 1024,
  /** Redirects followed on one upstream request, same origin only. */
  redirects: 3,
  /** Pages followed by one listing. */
  listPages: 100,
  /** Items kept of one listing. */
  listItems: 10_000,
  /** Connections asked at once by `GET /{ns}/.tools` and by the namespace endpoint. */
  namespaceListConcurrency: 256,
  /** Items of one list of the namespace endpoint; the connections beyond are named instead. */
  namespaceItems: 20_000,
  /** Search for tools: the longest query, how many are found unless told and at most, and what is shown and read of a description. */
  toolSearchQueryChars: 500,
  toolSearchResults: 10,
  toolSearchResultsMax: 50,
  toolSearchShownChars: 300,
  toolSearchReadChars: 1_000,
  /** How long the namespace endpoint waits after a change of a connection, so that several are told as one. */
  listChangePauseMs: 200,
  /** Sockets to one upstream origin: those that sessions and streams hold, and some hundreds for calls. */
  socketsPerOrigin: 1536,
  /** Idle keep-alive of an upstream socket, unless the upstream's Keep-Alive says less. */
  upstreamKeepAliveMs: 30_000,

  /** Pooled upstream sessions of one process. */
  upstreamSessions: 10_000,
  /** A pooled upstream session unused for this long is ended. */
  upstreamSessionIdleMs: 15 * 60_000,
  /**
   * Sessions that one process keeps for the calls that it translates: all, and with one origin. Each holds a socket for what
   * its server says, which calls need too.
   */
  leasedSessions: 10_000,
  leasedSessionsPerOrigin: 256,
  /**
   * Sessions over HTTP+SSE that one process keeps for calls: all, and with one origin. Each holds a socket, which calls
   * need too.
   */
  sseSessions: 2_000,
  sseSessionsPerOrigin: 128,
  /** One of them unused for this long is closed, before something in between loses an idle stream silently. */
  sseSessionIdleMs: 5 * 60_000,
  /** The same for the sessions that legacy callers have for themselves. */
  sseOwnSessions: 4_000,
  sseOwnSessionsPerOrigin: 256,
  sseOwnSessionIdleMs: 15 * 60_000,
  /** What a server says in one of them while its caller has no stream open, until it opens one; older messages go. */
  sseQueuedMessages: 100,
  sseQueuedChars: 256 * 1024,
  /** Time until a server has named the endpoint of a session over HTTP+SSE, and the longest endpoint. */
  sseEndpointMs: 8_000,
  sseEndpointChars: 8 * 1024,
  /** Requests of one such session that wait for their answer. */
  sseRequests: 1_000,
  /** Requests of its server that are being answered at once. */
  sseReplies: 16,
  /** How much of an answer to a POST in it is drained to keep its socket. */
  sseDrainedBytes: 16 * 1024,

  /** Largest message of an uplink, and how much may wait to be sent through its tunnel. */
  uplinkFrameBytes: 16 * 1024 * 1024,
  uplinkBufferedBytes: 32 * 1024 * 1024,
  /** Requests of one tunnel that wait for their answer. */
  uplinkRequests: 1_000,
  /** Messages of its server that a caller has not taken yet; more are dropped. */
  uplinkUnheard: 2_000,
  /** How often a tunnel is asked whether it is still there: one that says nothing for as long is cut. */
  uplinkPingMs: 10_000,
  /** How long its closing handshake may take before the socket is cut. */
  uplinkCloseMs: 2_000,
  /** How long to wait for the answer to initialize before it is asked again: at first, and at most. */
  uplinkInitializeMinMs: 250,
  uplinkInitializeMaxMs: 5_000,
  /** How long a process that is not heard of still counts as the holder of its tunnels. */
  uplinkLeaseMs: 15_000,

  /**
   * The agent of an uplink, on the machine of the local server: how long it waits before it pairs again, at first and at
   * most, and at most once it has tried for `agentEagerForMs`; all with jitter. A tunnel or server that lasts `agentStableMs` is
   * one that works: waiting begins anew after it.
   */
  agentRetryMinMs: 150,
  agentRetryMaxMs: 1_500,
  agentRetryPatientMs: 20_000,
  agentEagerForMs: 120_000,
  agentStableMs: 10_000,
  /** How long its handshake may take. */
  agentHandshakeMs: 10_000,
  /** How much it lets wait for the tunnel before it holds back the local server. */
  agentBufferedBytes: 1024 * 1024,
  /** How long a local server has to end by itself, and then after SIGTERM. */
  agentStopMs: 2_000,

  /** Lists of each kind (tools, prompts, …) remembered by one process, and for how long. */
  listCacheEntries: 2_000,
  listCacheMs: 60_000,
  /** How long a list is used again without asking, at most, where its server allows that (`ttlMs`). */
  listFreshMaxMs: 600_000,
  /** How often tools that callers list without us are held against their pins, and how much of changed definitions is kept. */
  pinLookMs: 5 * 60_000,
  pinDefinitionsBytes: 256 * 1024,
  /** How old the last look at the tools may be before a call, in a namespace with quarantine. */
  quarantineLookMs: 10_000,
  /** Connection records remembered by one process, and for how long at most. */
  recordCacheEntries: 50_000,
  recordCacheMs: 30_000,
  /** API keys and namespaces remembered by one process, and for how long at most. */
  identityCacheEntries: 10_000,
  identityCacheMs: 30_000,
  /** How old the noted last use of an API key may be while the key is used. */
  keyUseNotedMs: 60_000,

  /**
   * Requests a minute, of one API key with all its service tokens, of one service token, to one namespace, and calls of one
   * connection; a quota may be spent at once. And how many calls of each may be under way, open streams included.
   */
  keyRequestsPerMinute: 120_000,
  tokenRequestsPerMinute: 30_000,
  namespaceRequestsPerMinute: 120_000,
  connectionRequestsPerMinute: 30_000,
  keyOpenCalls: 4_000,
  tokenOpenCalls: 1_000,
  namespaceOpenCalls: 4_000,
  connectionOpenCalls: 1_000,
  /** Keys, tokens, namespaces and connections, of each as many, whose requests one process counts. */
  quotaSubjects: 50_000,
  connectionsPerNamespace: 10_000,

  /** How long a browser stays signed in. */
  browserSessionMs: 12 * 3_600_000,
  /** Characters of a server's instructions that are kept to be looked at; of longer ones the hash alone. */
  instructionsChars: 8_000,
  /** What the audit reads of an answer, and keeps of what was asked and of what was answered, where a namespace wants that. */
  auditAnswerBytes: 256 * 1024,
  auditDetailBytes: 16 * 1024,
  /** How long an invitation waits for somebody to take it, and how many may wait in an organization. */
  invitationMs: 7 * 24 * 3_600_000,
  invitationsPerOrganization: 1_000,
  /** How long each answer of the provider of single sign-on may take, and the person there. */
  singleSignOnMs: 10_000,
  singleSignOnLoginMs: 30 * 60_000,
  /** How long a login of a command line waits for the person; the vendor's waits five minutes. */
  cliLoginMs: 10 * 60_000,

  /** How long a service token lasts, unless told, and at most. */
  tokenDefaultMs: 60 * 60_000,
  tokenMaxMs: 24 * 60 * 60_000,
  /** Constraints of one policy, and all of a token's policies as JSON: they travel in a header with each request. */
  constraintsPerPolicy: 50,
  tokenPolicyBytes: 6 * 1024,
  /** Instructions that all regular expressions of a token compile to, and characters of a text that they match: the product is what a request costs at most. */
  tokenPatternInstructions: 2_000,
  rpcMatchChars: 512,
  /** How often a service token may be narrowed to another one. */
  tokenGenerations: 8,
  /** A public key stays this long after its last signature: longer than a token lasts. */
  signingKeyKeepMs: 25 * 60 * 60_000,

  /** How often the caches look at the clock; looking each millisecond shows in profiles. */
  cacheClockMs: 1_000,

  /** One request for a document or a token (discovery, registration, token endpoint), and its largest answer. */
  fetchMs: 10_000,
  fetchedBytes: 1024 * 1024,
  /** Everything that finding and asking an authorization server takes together, below the 30 s of create and set. */
  discoverLoginMs: 15_000,
  /** An access token is renewed when it has this long to live. */
  renewAheadMs: 60_000,
  /** How long a process holds the renewal of a grant for itself: longer than the request may take. */
  renewLeaseMs: 20_000,
  /** How long a caller waits for a renewal that another process does. */
  renewWaitMs: 25_000,
  renewPollMs: 100,
  /** Failed renewals whose reason one process remembers. */
  renewFaults: 10_000,
  /** Backoff between renewals while the authorization server fails. */
  renewRetryMinMs: 1_000,
  renewRetryMaxMs: 5 * 60_000,
  /** A login, from the setup page to the callback; and a setup ticket (design §8). */
  loginMs: 10 * 60_000,
  setupTicketMs: 60 * 60_000,
  /** Largest form that a page takes. */
  pageFormBytes: 64 * 1024,
  /** Logins that one connection may have begun and not finished; the oldest give way. */
  loginsPerConnection: 20,
  /** How long the deletion of a connection waits for its authorization server. */
  revokeMs: 3_000,
  /** How often one connection may be sent back for more scopes before the refusal counts as final. */
  stepUps: 3,
  /** A login that was longer ago than this does not count among them. */
  stepUpPauseMs: 60 * 60_000,

  /** Backoff between background probes of a connection in `error`. */
  healMinMs: 1_000,
  healMaxMs: 60_000,
  /** Background probes of one process at once. */
  healConcurrency: 16,
  /** How often a process looks for probes that another one left behind. */
  healSweepMs: 5_000,

  /** Custom headers of one connection. */
  headersPerConnection: 64,
  headerValueBytes: 8 * 1024,
  /** `metadata` of one connection, as JSON. */
  metadataBytes: 16 * 1024,
  metadataKeys: 100,
  /** Metadata conditions of one list. */
  metadataFilters: 20,
  urlChars: 2048,
  connectionIdChars: 255,
  /** An icon address longer than this is not kept (data: URIs). */
  iconUrlChars: 16 * 1024,
  /** A string of serverInfo longer than this is cut. */
  serverInfoChars: 4096,
  serverInfoIcons: 16,
  /** Inputs that a server may ask of the users of its connections (api.md §4), and how deep objects nest in them. */
  inputsPerConnection: 20,
  inputNesting: 4,
  /** An input with a longer name is left out; longer texts are cut. */
  inputNameChars: 128,
  inputLabelChars: 100,
  inputDescriptionChars: 500,
  /** Page sizes, unless the caller says another. */
  listPage: 100,
  namespacesPage: 50,

  /** Configured OAuth clients of one namespace, and the longest id, secret or scope, and private key, of one. */
  oauthClientsPerNamespace: 100,
  oauthClientFieldChars: 4096,
  privateKeyChars: 16 * 1024,
  /** Return URLs in the settings of one namespace. */
  returnUrlsPerNamespace: 20,

  /** Sealed values that a rotation of keys writes in one transaction. */
  resealBatchRows: 200,
  /** How long a replaced data key stays where a server may yet store what it sealed with it. */
  replacedDataKeyMs: 10 * 60_000,

  /** Webhooks of one namespace. */
  webhooksPerNamespace: 20,
  /** One attempt to deliver an event, up to the head of the answer. */
  webhookAttemptMs: 10_000,
  /** How much of an answer is drained to keep its socket. */
  webhookAnswerBytes: 16 * 1024,
  /** Backoff between attempts, and the age at which an event is given up. */
  webhookRetryMinMs: 5_000,
  webhookRetryMaxMs: 4 * 3_600_000,
  webhookGiveUpMs: 3 * 24 * 3_600_000,
  /** Events that wait for one webhook; the oldest go first. */
  webhookQueuePerHook: 10_000,
  /** Attempts of one process at once: all together, and to one webhook. */
  webhookConcurrency: 64,
  webhookConcurrencyPerHook: 4,
  /** How often a process looks for events that another one queued or left behind. */
  webhookSweepMs: 5_000,

  /** How long an entry of the audit waits in memory at most, and how many may wait before they are written sooner. */
  auditFlushMs: 500,
  auditFlushRows: 10_000,
  /** Entries in memory, those being written included; more are dropped and counted. */
  auditQueueRows: 20_000,
  /** Longest pause between attempts to write the audit while the store fails. */
  auditRetryMaxMs: 30_000,
  /** Names that callers choose (method, tool, connection) are cut to this in the audit. */
  auditNameChars: 256,
  /** How long the audit is kept, how often that is looked at, and how many rows one transaction deletes. */
  auditKeepMs: 30 * 24 * 3_600_000,
  auditSweepMs: 60_000,
  auditSweepRows: 500,
  /** Rows that an export reads at once. */
  auditExportRows: 500,

  /** Answers under way at SIGTERM get this long. */
  drainMs: 10_000,
};

export type Limits = typeof defaultLimits;
