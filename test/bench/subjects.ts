import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ReferenceConfig } from './duties.ts';
import type { Job, LoadResult, RequestTemplate } from './load.ts';
import type { Placement, Processes, Started } from './processes.ts';

type Era = 'modern' | 'legacy';

/** One server under test and what is asked of it. */
export interface Subject {
  name: string;
  pid: number;
  origin: string;
  requests: RequestTemplate[];
}

/** Everything one section of the bench needs, up and running. */
export interface Lab {
  toolsCall(era: Era): Subject[];
  /** `tools/call` that is answered with 100 events of progress and the result. */
  eventStream(): Subject[];
  /** `tools/list` of 500 tools. */
  toolsList(): Subject[];
  /** A session of a legacy caller from its beginning: initialize, initialized, tools/list, tools/call. */
  newSession(): Subject[];
  getConnection(): Subject[];
  /** The same, with a service token that is bound to the connection's metadata, and with an API key. */
  withToken(): Promise<Subject[]>;
  /** `tools/call`, beside a Patchbay whose audit has room for one entry and drops the others. */
  withAudit(): Promise<Subject[]>;
  run(job: Job): Promise<LoadResult>;
  close(): Promise<void>;
}

const upstreamScript = fileURLToPath(new URL('./upstream.ts', import.meta.url));
const loadScript = fileURLToPath(new URL('./load.ts', import.meta.url));
const passThroughScript = fileURLToPath(new URL('./pass-through.ts', import.meta.url));
const floorScript = fileURLToPath(new URL('./floor.ts', import.meta.url));

const versionKey = 'io.modelcontextprotocol/protocolVersion';
const modernRevision = '2026-07-28';
const legacyRevision = '2025-11-25';

/**
 * Starts the upstream, the references, the load generator and Patchbay with two connections. The upstream runs
 * twice: beside the generator for the gateways, and on the core under test to be measured itself.
 */
export async function openLab(
  processes: Processes,
  { underTest, others }: Placement,
  profileDir: string | undefined,
): Promise<Lab> {
  const token = `bench-${randomBytes(16).toString('hex')}`;
  const secret = randomBytes(16).toString('hex');
  const dataDir = await processes.makeDataDir();
  const upstream = await processes.start(upstreamScript, [secret], others);
  const direct = await processes.start(upstreamScript, [secret], underTest);
  const load = await processes.start(loadScript, [], others);
  const patchbay = await processes.startPatchbay(dataDir, token, underTest, profileDir);
  const connect = (id: string, path: string) =>
    createConnection(patchbay, token, id, `${upstream.origin}${path}`, secret);
  await connect('modern', '/modern');
  await connect('many', '/modern?tools=500');
  const view = await connect('legacy', '/legacy');

  const config: ReferenceConfig = {
    token,
    routes: {
      modern: { origin: upstream.origin, path: '/modern', headers: { 'x-api-key': secret } },
      many: { origin: upstream.origin, path: '/modern?tools=500', headers: { 'x-api-key': secret } },
      legacy: { origin: upstream.origin, path: '/legacy', headers: await openSession(upstream, secret) },
      // Whoever calls it has a session of its own.
      session: { origin: upstream.origin, path: '/legacy', headers: { 'x-api-key': secret } },
    },
    view,
  };
  const passThrough = await processes.start(passThroughScript, [JSON.stringify(config)], underTest);
  const floor = await processes.start(floorScript, [JSON.stringify(config)], underTest);
  const directSession = await openSession(direct, secret);

  const subject = (name: string, { pid, origin }: Started, requests: RequestTemplate[]): Subject => ({
    name,
    pid,
    origin,
    requests,
  });
  const authorization = `Bearer ${token}`;
  /** All four of them; `requests` makes what one is asked from its path and headers. */
  const compare = (
    id: string,
    path: string,
    straightHeaders: Record<string, string>,
    throughHeaders: Record<string, string>,
    requests: (path: string, headers: Record<string, string>) => RequestTemplate[],
  ): Subject[] => {
    const throughGateway = requests(`/connect/default/${id}/mcp`, { authorization, ...throughHeaders });
    return [
      subject('upstream itself', direct, requests(path, straightHeaders)),
      subject('pass-through', passThrough, throughGateway),
      subject('floor', floor, throughGateway),
      subject('Patchbay', patchbay, throughGateway),
    ];
  };
  const apiKey = { 'x-api-key': secret };
  return {
    toolsCall(era) {
      const isLegacy = era === 'legacy';
      const throughHeaders: Record<string, string> = isLegacy
        ? { 'mcp-session-id': 'smithery-stateless' }
        : {};
      return compare(era, `/${era}`, isLegacy ? directSession : apiKey, throughHeaders, (path, headers) => [
        callOf(era, path, headers),
      ]);
    },
    eventStream: () =>
      compare('modern', '/modern', apiKey, {}, (path, headers) => [
        { ...callOf('modern', path, headers, 'survey'), expected: '"progress":100,' },
      ]),
    toolsList: () =>
      compare('many', '/modern?tools=500', apiKey, {}, (path, headers) => [
        listOf('modern', path, headers, 500),
      ]),
    newSession() {
      const requests = (path: string, headers: Record<string, string>) => [
        requestOf('legacy', path, headers, 'initialize', initializeParams, 'bench-legacy'),
        initialized(path, headers),
        listOf('legacy', path, headers, 5),
        callOf('legacy', path, headers),
      ];
      const compared = compare('session', '/legacy', apiKey, {}, requests);
      // Patchbay has one connection for both kinds of callers.
      const own = requests('/connect/default/legacy/mcp', { authorization });
      return compared.map((one) => (one.name === 'Patchbay' ? { ...one, requests: own } : one));
    },
    getConnection() {
      const request = getOf(authorization);
      return [subject('bare Fastify route', floor, [request]), subject('Patchbay', patchbay, [request])];
    },
    async withToken() {
      const minted = await mintToken(patchbay, token);
      return [
        subject('with an API key', patchbay, [getOf(authorization)]),
        subject('Patchbay', patchbay, [getOf(`Bearer ${minted}`)]),
      ];
    },
    async withAudit() {
      const otherDir = await processes.makeDataDir();
      const dropping = await processes.startPatchbay(
        otherDir,
        token,
        underTest,
        undefined,
        'auditQueueRows=1',
      );
      await createConnection(dropping, token, 'modern', `${upstream.origin}/modern`, secret);
      const requests = [callOf('modern', '/connect/default/modern/mcp', { authorization })];
      return [subject('audit dropped', dropping, requests), subject('Patchbay', patchbay, requests)];
    },
    run: (job) => runJob(load.child, job),
    close: () => processes.stopAll(),
  };
}

async function runJob(load: ChildProcess, job: Job): Promise<LoadResult> {
  // The losing wait must not leave its listener on a process that lives on.
  const decided = new AbortController();
  const { signal } = decided;
  const ended = once(load, 'exit', { signal }).then(() => {
    throw new Error('the load generator ended');
  });
  ended.catch(() => {});
  load.send(job);
  try {
    const [result] = await Promise.race([once(load, 'message', { signal }), ended]);
    return result as LoadResult;
  } finally {
    decided.abort();
  }
}

async function createConnection(
  patchbay: Started,
  token: string,
  id: string,
  mcpUrl: string,
  secret: string,
): Promise<unknown> {
  const response = await fetch(`${patchbay.origin}/connect/default/${id}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      mcpUrl,
      metadata: { userId: 'user123', plan: 'bench' },
      headers: { 'x-api-key': secret },
    }),
  });
  const view = (await response.json()) as { status?: { state?: string } };
  if (view.status?.state !== 'connected') {
    throw new Error(`Patchbay could not connect the bench's upstream: ${JSON.stringify(view)}`);
  }
  return view;
}

/** Mints a token as an application gives its users, which may read and call what is theirs. */
async function mintToken(patchbay: Started, token: string): Promise<string> {
  const response = await fetch(`${patchbay.origin}/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      policy: [
        {
          namespaces: 'default',
          operations: ['read', 'execute'],
          metadata: { userId: 'user123' },
          ttl: '24h',
        },
      ],
    }),
  });
  const minted = (await response.json()) as { token?: string };
  if (minted.token === undefined) throw new Error(`Patchbay minted no token: ${JSON.stringify(minted)}`);
  return minted.token;
}

function getOf(authorization: string): RequestTemplate {
  return {
    method: 'GET',
    path: '/connect/default/legacy',
    headers: ['authorization', authorization],
    body: undefined,
    expected: '"connectionId":"legacy"',
  };
}

/** Opens a legacy session by hand, for those who keep none; returns the headers of a call in it. */
async function openSession(upstream: Started, secret: string): Promise<Record<string, string>> {
  const post = (message: Record<string, unknown>, headers: Record<string, string>) =>
    fetch(`${upstream.origin}/legacy`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ jsonrpc: '2.0', ...message }),
    });
  const opened = await post(
    { id: 0, method: 'initialize', params: initializeParams },
    { 'x-api-key': secret },
  );
  await opened.arrayBuffer();
  const headers = {
    'x-api-key': secret,
    'mcp-session-id': opened.headers.get('mcp-session-id') ?? '',
    'mcp-protocol-version': legacyRevision,
  };
  const confirmed = await post({ method: 'notifications/initialized' }, headers);
  await confirmed.arrayBuffer();
  return headers;
}

const initializeParams = {
  protocolVersion: legacyRevision,
  capabilities: {},
  clientInfo: { name: 'bench', version: '1' },
};

function callOf(era: Era, path: string, headers: Record<string, string>, name = 'weather'): RequestTemplate {
  const params = { name, arguments: { city: 'Lisbon', units: 'metric', days: 3 } };
  const named = era === 'modern' ? { 'mcp-name': name, ...headers } : headers;
  return requestOf(era, path, named, 'tools/call', params, 'Sunny in Lisbon.');
}

/** The answer holds the last of `count` tools. */
function listOf(era: Era, path: string, headers: Record<string, string>, count: number): RequestTemplate {
  return requestOf(era, path, headers, 'tools/list', {}, `"weather_${count - 1}"`);
}

function initialized(path: string, headers: Record<string, string>): RequestTemplate {
  const beforeId = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
  return {
    method: 'POST',
    path,
    headers: headersOf('legacy', headers, 'notifications/initialized'),
    body: { beforeId, afterId: '', ids: 'same' },
    expected: undefined,
  };
}

function requestOf(
  era: Era,
  path: string,
  headers: Record<string, string>,
  method: string,
  params: Record<string, unknown>,
  expected: string,
): RequestTemplate {
  const meta = {
    [versionKey]: modernRevision,
    'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1.0.0' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const text = JSON.stringify(era === 'modern' ? { ...params, _meta: meta } : params);
  return {
    method: 'POST',
    path,
    headers: headersOf(era, headers, method),
    body: {
      beforeId: '{"jsonrpc":"2.0","id":',
      afterId: `,"method":"${method}","params":${text}}`,
      ids: era === 'modern' ? 'unique' : 'same',
    },
    expected,
  };
}

function headersOf(era: Era, headers: Record<string, string>, method: string): string[] {
  const sent: Record<string, string> = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(era === 'modern' ? { 'mcp-protocol-version': modernRevision, 'mcp-method': method } : {}),
    ...headers,
  };
  return Object.entries(sent).flat();
}
