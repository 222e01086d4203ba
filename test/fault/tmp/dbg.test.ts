import { expect, test } from 'vitest';
import { connect, echoCall, mcp, rest, read } from '../../fixtures/fault.ts';
import { startPatchbay } from '../../fixtures/patchbay.ts';
import { legacyServer, startUpstream } from '../../fixtures/upstream.ts';
import { until } from '../../fixtures/until.ts';
test('ns', async () => {
  const own = await startPatchbay();
  const server = legacyServer({ sessions: true });
  const up = await startUpstream(server.handler);
  console.log((await read(await own.request('/namespaces/shortlived', { method: 'PUT' }))).text);
  console.log((await read(await own.request('/connect/shortlived/x', { method: 'PUT', json: { mcpUrl: up.url } }))).text);
  await own.stop(); await up.stop();
});
for (const sse of [false, true])
test('abort' + sse, async () => {
  const server = legacyServer({ sessions: true });
  const up = await startUpstream(server.handler);
  const other = await startPatchbay();
  await connect(other, 'a', up.url);
  up.handle((request, response) => {
    if (request.message?.method !== 'tools/call') return server.handler(request, response);
    if (sse) response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': working\n\n');
  });
  const caller = new AbortController();
  const o = mcp(other, 'a', echoCall('mine'), { signal: caller.signal }).catch((e) => e.name);
  await until(() => up.received.find(({ message }) => message?.method === 'tools/call'));
  caller.abort(); await o;
  await until(() => up.received.find(({ message }) => message?.method === 'notifications/cancelled'));
  const t = performance.now();
  const conns = () => new Promise((r) => other.patchbay.app.server.getConnections((_e, n) => r(n)));
  console.log('open', await conns());
  const iv = setInterval(async () => console.log(Math.round(performance.now() - t), await conns()), 500);
  await other.patchbay.app.close(); console.log('app.close', performance.now() - t);
  clearInterval(iv);
  await other.stop(); console.log('stop', performance.now() - t);
  await up.stop(); console.log('up', performance.now() - t);
});
