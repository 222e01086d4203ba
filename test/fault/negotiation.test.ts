import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { count, echoCall, mcp, put, type Rig, setUpRig } from '../fixtures/fault.ts';
import { SteppedClock } from '../fixtures/stepped-clock.ts';
import { until } from '../fixtures/until.ts';
import { legacyServer, modernServer, sendJson } from '../fixtures/upstream.ts';

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

describe('what was learned of an upstream’s era', () => {
  const call = echoCall('a', { text: 'hi' });
  const discoveries = () => count(rig.up, 'server/discover');

  it('is asked again beside a call once it is a day old, and only then', async () => {
    const clock = new SteppedClock();
    const pb = await rig.start({ clock });
    await put(pb, 'c', { mcpUrl: rig.up.url });
    expect(discoveries()).toBe(1);
    clock.step(23 * 3_600_000);
    expect((await mcp(pb, 'c', call)).status).toBe(200);
    expect(discoveries()).toBe(1);
    clock.step(2 * 3_600_000);
    expect((await mcp(pb, 'c', call)).status).toBe(200);
    await until(() => discoveries() === 2);
    // Learned anew, it is young again.
    await until(async () => {
      const before = discoveries();
      return (await mcp(pb, 'c', call)).status === 200 && discoveries() === before;
    });
  });

  it.each([
    ['legacy', 'modern', () => legacyServer().handler, () => modernServer().handler],
    ['modern', 'legacy', () => modernServer().handler, () => legacyServer().handler],
  ])('is learned anew when a %s server has become a %s one', async (_was, _is, before, after) => {
    rig.up.handle(before());
    const pb = await rig.start();
    await put(pb, 'c', { mcpUrl: rig.up.url });
    expect((await mcp(pb, 'c', call)).json).toMatchObject({ result: { content: [{ type: 'text' }] } });
    rig.up.handle(after());
    const answered = async () => (await mcp(pb, 'c', call)).json.result as unknown;
    expect(await until(answered)).toMatchObject({ content: [{ type: 'text' }] });
  });
});
