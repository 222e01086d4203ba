import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mcp, put, untilState } from '../fixtures/fault.ts';
import { followLogin } from '../fixtures/oauth/browser.ts';
import {
  type FaultyAuthorizationServer,
  startFaultyAuthorizationServer,
} from '../fixtures/oauth/faulty-authorization-server.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';

let server: FaultyAuthorizationServer;
let pb: TestPatchbay;
beforeEach(async () => {
  server = await startFaultyAuthorizationServer();
  pb = await startPatchbay();
});
afterEach(async () => {
  await pb.stop();
  await server.close();
});

const call = {
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'echo', arguments: { text: 'hi' } },
};

describe('a connection to a server behind a login', () => {
  it('waits for its user, logs in on the setup page, and works', async () => {
    const created = await put(pb, 'c', { mcpUrl: server.mcpUrl });
    expect(created.json.status).toMatchObject({ state: 'auth_required' });
    const { setupUrl, authorizationUrl } = created.json.status as Record<string, string>;
    expect(authorizationUrl).toBe(setupUrl);

    const refused = await mcp(pb, 'c', call);
    expect(refused.status).toBe(401);
    expect(refused.json).toMatchObject({ error: { code: -32001 } });

    const steps = await followLogin(setupUrl as string);
    expect(steps.at(-1)?.text).toContain('All set');
    await untilState(pb, 'c', 'connected');
    const answer = await mcp(pb, 'c', call);
    expect(answer.status).toBe(200);
  });
});
