import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import { type FrontDoor, openFrontDoor } from '../fixtures/front-door.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { startUpstream, type Upstream } from '../fixtures/upstream.ts';
import { editions } from './legacy-callers.ts';
import { type Answers, type ScriptedModern, scriptedModern } from './scripted-modern.ts';

// Legacy callers in front of a modern server, where each of their requests may come to another process.

type Params = Record<string, unknown>;
const secret = 'what only the server may read';

// What one SQLite file allows is one process.
describe.runIf(testsOnPostgres)('two processes on one PostgreSQL', () => {
  let one: TestPatchbay;
  let other: TestPatchbay;
  let door: FrontDoor;
  let upstream: Upstream;
  let server: ScriptedModern;
  let dataDir: string;
  let database: TestDatabase;
  const key = 'one-key-for-both-processes';
  const answers: Answers = {
    'tools/list': () => ({
      result: { resultType: 'complete', tools: [{ name: 'ask', inputSchema: { type: 'object' } }] },
    }),
    'tools/call': ({ params }) => {
      const { answer } = (params.inputResponses ?? {}) as Record<string, { content?: { name?: string } }>;
      if (answer) {
        const text = String(answer.content?.name);
        return { result: { resultType: 'complete', content: [{ type: 'text', text }] } };
      }
      const question = {
        method: 'elicitation/create',
        params: {
          message: 'Name?',
          requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
        },
      };
      return {
        result: { resultType: 'input_required', inputRequests: { answer: question }, requestState: 's' },
      };
    },
  };

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'patchbay-two-'));
    database = await createTestDatabase(dataDir);
    one = await startPatchbay({ database, env: { PATCHBAY_API_KEY: key } });
    other = await startPatchbay({ database, env: { PATCHBAY_API_KEY: key } });
    door = await openFrontDoor();
  });
  afterAll(async () => {
    await door?.close();
    await other?.stop();
    await one?.stop();
    await database?.drop();
    await rm(dataDir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    server = scriptedModern(answers);
    upstream = await startUpstream(server.handler);
    await one.sdk().connections.set('m', { namespace: 'default', mcpUrl: upstream.url });
    door.ports = [one, other].map(({ url }) => Number(new URL(url).port));
  });
  afterEach(async () => {
    await one.request('/connect/default/m', { method: 'DELETE' });
    await upstream.stop();
  });

  const post = (pb: TestPatchbay, json: unknown, session?: string) =>
    pb.request('/mcp/default/m', {
      method: 'POST',
      json,
      headers: {
        accept: 'application/json, text/event-stream',
        ...(session ? { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' } : {}),
      },
    });

  async function initialize(capabilities: Params = {}): Promise<string> {
    const clientInfo = { name: 'raw', version: '1' };
    const params = { protocolVersion: '2025-11-25', capabilities, clientInfo };
    const answer = await post(one, { jsonrpc: '2.0', id: 0, method: 'initialize', params });
    await answer.text();
    return answer.headers.get('mcp-session-id') as string;
  }

  const callTool = { jsonrpc: '2.0', id: 'c', method: 'tools/call', params: { name: 'ask', arguments: {} } };
  const mail = () => one.store.db.selectFrom('session_mail').selectAll().execute();

  describe.each(editions)('for $edition', ({ connectCaller }) => {
    test('carry its answers to where they are waited for', async () => {
      const caller = await connectCaller(`${door.url}/mcp/default/m`, one.key, {
        capabilities: { elicitation: {} },
        answers: { 'elicitation/create': () => ({ action: 'accept', content: { name: 'Ada' } }) },
      });
      // Requests are dealt out in turn, so that of two calls at least one is answered elsewhere.
      for (let i = 0; i < 4; i++) expect(await caller.call('ask')).toBe('Ada');
      await caller.close();
    });
  });

  test('carry a reply sealed, once, and keep nothing of it', async () => {
    const session = await initialize({ elicitation: {} });
    const stream = await post(one, callTool, session);
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
    const asked = JSON.parse(/data: (.*)/.exec((await reader?.read())?.value ?? '')?.[1] ?? '') as {
      id: string;
    };
    const result = { action: 'accept', content: { name: secret } };
    // Nobody waits for the second one, so it stays until its time is up.
    await post(other, { jsonrpc: '2.0', id: 'of-nobody', result }, session);
    expect((await post(other, { jsonrpc: '2.0', id: asked.id, result }, session)).status).toBe(202);
    expect((await reader?.read())?.value).toContain(secret);
    const left = await until(async () => {
      const rows = await mail();
      return rows.length === 1 && rows;
    });
    expect(JSON.stringify(left)).not.toContain(secret);
    await one.store.db.deleteFrom('session_mail').execute();
  });

  test('end a call that is cancelled at the other', async () => {
    const session = await initialize();
    const slow = post(
      one,
      { jsonrpc: '2.0', id: 's', method: 'prompts/get', params: { name: 'p' } },
      session,
    );
    await until(() => server.open() === 1);
    const params = { requestId: 's' };
    await post(other, { jsonrpc: '2.0', method: 'notifications/cancelled', params }, session);
    expect(await (await slow).text()).toBe('');
    await until(() => server.open() === 0);
  });

  test('do not let a session answer for another', async () => {
    const [session, stranger] = [
      await initialize({ elicitation: {} }),
      await initialize({ elicitation: {} }),
    ];
    const slow = post(
      one,
      { jsonrpc: '2.0', id: 's', method: 'prompts/get', params: { name: 'p' } },
      session,
    );
    await until(() => server.open() === 1);
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 's' } };
    await post(other, cancel, stranger);
    await until(async () => (await mail()).length === 1);
    expect(server.open()).toBe(1);
    await post(other, cancel, session);
    await slow;
    await one.store.db.deleteFrom('session_mail').execute();
  });

  test('close the streams of a session that is ended at the other', async () => {
    const session = await initialize();
    const stream = await one.request('/mcp/default/m', {
      headers: { accept: 'text/event-stream', 'mcp-session-id': session },
    });
    await until(() => server.open() === 1);
    const ended = await other.request('/mcp/default/m', {
      method: 'DELETE',
      headers: { 'mcp-session-id': session },
    });
    expect(ended.status).toBe(204);
    await stream.text();
    await until(() => server.open() === 0);
  });
});
