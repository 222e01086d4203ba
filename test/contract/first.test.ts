import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let up: Upstream;
beforeAll(async () => {
  pb = await startPatchbay();
  up = await startUpstream(legacyServer({ sessions: true }).handler);
});
afterAll(async () => {
  await pb?.stop();
  await up?.stop();
});

test('a connection is created, read, listed, called and deleted through the SDK', async () => {
  const sdk = pb.sdk();
  const made = await sdk.connections.create('default', { mcpUrl: up.url, metadata: { userId: 'u1' } });
  expect(made.status).toEqual({ state: 'connected' });
  expect(await sdk.connections.get(made.connectionId, { namespace: 'default' })).toEqual(made);
  const { tools } = await sdk.connections.tools.list(made.connectionId, { namespace: 'default' });
  expect(tools.map((tool) => tool.name)).toEqual(['echo']);
  expect(await sdk.connections.delete(made.connectionId, { namespace: 'default' })).toEqual({
    success: true,
  });
});
