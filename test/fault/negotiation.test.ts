import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { count, put, type Rig, setUpRig } from '../fixtures/fault.ts';
import { modernServer, sendJson } from '../fixtures/upstream.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await setUpRig();
});
afterEach(() => rig.stop());

/** A modern server that refuses the first `server/discover` and names `supported`. */
function refusingFirst(supported: string[]) {
  const { handler } = modernServer();
  let refused = false;
  rig.up.handle((request, response) => {
    if (refused || request.message?.method !== 'server/discover') return handler(request, response);
    refused = true;
    const error = { code: -32022, message: 'Unsupported protocol version', data: { supported } };
    sendJson(response, 400, { jsonrpc: '2.0', id: request.message.id, error });
  });
}

describe('a server that refuses the revision of the first question', () => {
  it('is asked again if it names that very revision among its own', async () => {
    refusingFirst(['2026-07-28']);
    const pb = await rig.start();
    expect((await put(pb, 'c', { mcpUrl: rig.up.url })).json.status).toEqual({ state: 'connected' });
    expect(count(rig.up, 'server/discover')).toBe(2);
  });

  it('is believed if it names others', async () => {
    refusingFirst(['2027-01-01']);
    const pb = await rig.start();
    expect((await put(pb, 'c', { mcpUrl: rig.up.url })).json.status).toMatchObject({ state: 'error' });
    expect(count(rig.up, 'server/discover')).toBe(1);
  });
});
