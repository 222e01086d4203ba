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
  request: RequestTemplate;
}

/** Everything one section of the bench needs, up and running. */
export interface Lab {
  toolsCall(era: Era): Subject[];
  getConnection(): Subject[];
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
  await createConnection(patchbay, token, 'modern', upstream, secret);
  const view = await createConnection(patchbay, token, 'legacy', upstream, secret);

  const config: ReferenceConfig = {
    token,
    routes: {
      modern: { origin: upstream.origin, path: '/modern', headers: { 'x-api-key': secret } },
      legacy: { origin: upstream.origin, path: '/legacy', headers: await openSession(upstream, secret) },
    },
    view,
  };
  const passThrough = await processes.start(passThroughScript, [JSON.stringify(config)], underTest);
  const floor = await processes.start(floorScript, [JSON.stringify(config)], underTest);
  const directSession = await openSession(direct, secret);

  const subject = (name: string, { pid, origin }: Started, request: RequestTemplate): Subject => ({
    name,
    pid,
    origin,
    request,
  });
  return {
    toolsCall(era) {
      const throughGateway = callTemplate(era, `/connect/default/${era}/mcp`, {
        authorization: `Bearer ${token}`,
        ...(era === 'legacy' ? { 'mcp-session-id': 'smithery-stateless' } : {}),
      });
      const straight = callTemplate(
        era,
        `/${era}`,
        era === 'legacy' ? directSession : { 'x-api-key': secret },
      );
      return [
        subject('upstream itself', direct, straight),
        subject('pass-through', passThrough, throughGateway),
        subject('floor', floor, throughGateway),
        subject('Patchbay', patchbay, throughGateway),
      ];
    },
    getConnection() {
      const request: RequestTemplate = {
        method: 'GET',
        path: '/connect/default/legacy',
        headers: ['authorization', `Bearer ${token}`],
        body: undefined,
        expected: '"connectionId":"legacy"',
      };
      return [subject('bare Fastify route', floor, request), subject('Patchbay', patchbay, request)];
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
  id: Era,
  upstream: Started,
  secret: string,
): Promise<unknown> {
  const response = await fetch(`${patchbay.origin}/connect/default/${id}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      mcpUrl: `${upstream.origin}/${id}`,
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

/** Opens a legacy session by hand, for those who keep none; returns the headers of a call in it. */
async function openSession(upstream: Started, secret: string): Promise<Record<string, string>> {
  const post = (message: Record<string, unknown>, headers: Record<string, string>) =>
    fetch(`${upstream.origin}/legacy`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ jsonrpc: '2.0', ...message }),
    });
  const initialize = {
    id: 0,
    method: 'initialize',
    params: {
      protocolVersion: legacyRevision,
      capabilities: {},
      clientInfo: { name: 'bench', version: '1' },
    },
  };
  const initialized = await post(initialize, { 'x-api-key': secret });
  await initialized.arrayBuffer();
  const headers = {
    'x-api-key': secret,
    'mcp-session-id': initialized.headers.get('mcp-session-id') ?? '',
    'mcp-protocol-version': legacyRevision,
  };
  const confirmed = await post({ method: 'notifications/initialized' }, headers);
  await confirmed.arrayBuffer();
  return headers;
}

function callTemplate(era: Era, path: string, headers: Record<string, string>): RequestTemplate {
  const params = { name: 'weather', arguments: { city: 'Lisbon', units: 'metric', days: 3 } };
  const meta = {
    [versionKey]: modernRevision,
    'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1.0.0' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const sent: Record<string, string> = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(era === 'modern'
      ? { 'mcp-protocol-version': modernRevision, 'mcp-method': 'tools/call', 'mcp-name': 'weather' }
      : {}),
    ...headers,
  };
  const text = JSON.stringify(era === 'modern' ? { ...params, _meta: meta } : params);
  return {
    method: 'POST',
    path,
    headers: Object.entries(sent).flat(),
    body: {
      beforeId: '{"jsonrpc":"2.0","id":',
      afterId: `,"method":"tools/call","params":${text}}`,
      ids: era === 'modern' ? 'unique' : 'same',
    },
    expected: 'Sunny in Lisbon.',
  };
}
