import { Webhook as Verifier } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createTestDatabase, testsOnPostgres } from '../fixtures/database.ts';
import { mcp, put, read, rest, untilState } from '../fixtures/fault.ts';
import { followLogin } from '../fixtures/oauth/browser.ts';
import { answer, oauthError } from '../fixtures/oauth/faults.ts';
import {
  connectByLogin,
  expectCallWorks,
  logInAgain,
  type OAuthRig,
  rpc,
  setUpOAuth,
} from '../fixtures/oauth/rig.ts';
import type { TestPatchbay } from '../fixtures/patchbay.ts';
import { until } from '../fixtures/until.ts';
import { startUpstream, type Upstream } from '../fixtures/upstream.ts';
import { verified } from '../fixtures/webhooks.ts';

// Pains 13.

const quick = { healMinMs: 20, healMaxMs: 60, healSweepMs: 50, renewRetryMinMs: 20, renewRetryMaxMs: 60 };

let rig: OAuthRig;
let pb: TestPatchbay;
let receiver: Upstream;
let verifier: Verifier;
beforeEach(async () => {
  rig = await setUpOAuth();
  pb = await rig.start({ limits: quick });
  receiver = await startUpstream((_, response) => void response.writeHead(204).end(), '/hook');
  verifier = await register(receiver);
});
afterEach(async () => {
  await rig.stop();
  await receiver.stop();
});

async function register({ url }: Upstream, more: Record<string, unknown> = {}, namespace = 'default') {
  const { status, json } = await read(
    await pb.request(`/namespaces/${namespace}/webhooks`, { method: 'POST', json: { url, ...more } }),
  );
  expect(status).toBe(201);
  return new Verifier(json.secret as string);
}

interface ConnectionEvent {
  type: string;
  timestamp: string;
  data: Record<string, unknown>;
}

/** The events that a receiver has got in all, checked, once everything under way has been stored and delivered. */
async function eventsOf(upstream = receiver, by = verifier): Promise<ConnectionEvent[]> {
  // Stopping waits for observations and probes; what they queued is delivered after the start.
  await pb.restart();
  await until(async () => {
    const queued = await pb.store.db.selectFrom('webhook_deliveries').select('id').execute();
    return queued.length === 0;
  });
  const deliveries = upstream.received.map((request) => verified(by, request));
  // A delivery that the stop broke off comes again, under the same id.
  return [...new Map(deliveries.map(({ id, event }) => [id, event as ConnectionEvent])).values()];
}

async function typesOf(...from: Parameters<typeof eventsOf>): Promise<string[]> {
  return (await eventsOf(...from)).map(({ type }) => type);
}

/** What the log says of logins. */
function logged(): { event: string; namespace: string; connectionId: string }[] {
  return pb.logs.map((line) => JSON.parse(line)).filter(({ event }) => event !== undefined);
}

/** Many calls at once, which all meet the same change. */
function callMany(id = 'c') {
  return Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? mcp(pb, id, rpc()) : rest(pb, id))));
}

describe('events of a connection', () => {
  it('tell once when its login is dead and once when it works again, however many calls meet it', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl, { metadata: { userId: 'u1' }, name: 'Calendar' });
    expect(await typesOf()).toEqual(['connection.recovered']);

    rig.server.book.revokeAllGrants();
    const refused = await callMany();
    expect(refused.map(({ status }) => status).filter((status) => status !== 401 && status !== 422)).toEqual(
      [],
    );
    await callMany();
    await put(pb, 'c', {});
    await pb.request('/connect/default/c');
    expect((await typesOf()).slice(1)).toEqual(['connection.auth_required']);

    await logInAgain(pb, 'c');
    await untilState(pb, 'c', 'connected');
    await callMany();
    const events = (await eventsOf()).slice(1);
    expect(events.map(({ type }) => type)).toEqual(['connection.auth_required', 'connection.recovered']);
    const [lost, found] = events;
    const data = { namespace: 'default', connectionId: 'c', name: 'Calendar', metadata: { userId: 'u1' } };
    expect(lost).toEqual({
      type: 'connection.auth_required',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      data: { ...data, status: { state: 'auth_required' } },
    });
    expect(found?.data).toEqual({ ...data, status: { state: 'connected' } });
  });

  it('go to the log as well', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    await callMany();
    await logInAgain(pb, 'c');
    await untilState(pb, 'c', 'connected');
    await callMany();
    await eventsOf();
    const names = { namespace: 'default', connectionId: 'c' };
    expect(logged()).toEqual(
      ['connection.recovered', 'connection.auth_required', 'connection.recovered'].map((event) =>
        expect.objectContaining({ event, ...names }),
      ),
    );
  });

  it('carry neither addresses nor secrets', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    await callMany();
    expect(await eventsOf()).toHaveLength(2);
    const sent = JSON.stringify(receiver.received.map(({ body, headers }) => ({ body, headers })));
    expect(sent).not.toContain('/setup');
    expect(sent).not.toContain(rig.server.mcpUrl);
    expect([...rig.server.book.secrets].filter((secret) => sent.includes(secret))).toEqual([]);
  });

  it('tell of a step-up: the server wants more than was granted', async () => {
    rig.server.behaviour.mcp.requiredScopes = { echo: 'echo' };
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    await callMany();
    await logInAgain(pb, 'c');
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
    expect(await typesOf()).toEqual([
      'connection.recovered',
      'connection.auth_required',
      'connection.recovered',
    ]);
  });

  it('tell that it works again once it does, if the server fails right after the login', async () => {
    const { json } = await put(pb, 'c', { mcpUrl: rig.server.mcpUrl });
    rig.server.behaviour.token.afterGrant = () => {
      rig.server.behaviour.faults.mcp = answer(500);
    };
    await followLogin((json.status as { setupUrl: string }).setupUrl);
    await untilState(pb, 'c', 'error');
    expect(await typesOf()).toEqual([]);

    rig.server.heal();
    await untilState(pb, 'c', 'connected');
    expect(await typesOf()).toEqual(['connection.recovered']);
  });

  it('do not tell of faults that no login can mend', async () => {
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.behaviour.faults.mcp = answer(500);
    await callMany();
    await untilState(pb, 'c', 'error');
    rig.server.heal();
    await untilState(pb, 'c', 'connected');

    rig.server.book.expireAccessTokens();
    rig.server.behaviour.faults.token = oauthError('temporarily_unavailable', 503);
    await callMany();
    await untilState(pb, 'c', 'error');
    rig.server.heal();
    await untilState(pb, 'c', 'connected');
    await expectCallWorks(pb, 'c');
    expect(await typesOf()).toEqual(['connection.recovered']);
  });

  it('go to the webhooks that want them, in the namespace of the connection', async () => {
    const sink = () => startUpstream((_, response) => void response.writeHead(204).end(), '/hook');
    const [choosy, foreign] = await Promise.all([sink(), sink()]);
    try {
      await pb.request('/namespaces/elsewhere', { method: 'PUT', json: {} });
      await register(foreign, {}, 'elsewhere');
      const own = await register(choosy, { events: ['connection.auth_required'] });
      await connectByLogin(pb, 'c', rig.server.mcpUrl);
      rig.server.book.revokeAllGrants();
      await callMany();
      expect(await typesOf()).toEqual(['connection.recovered', 'connection.auth_required']);
      expect(await typesOf(choosy, own)).toEqual(['connection.auth_required']);
      expect(foreign.received).toEqual([]);
      // The secrets differ: nobody who has one can forge for another.
      expect(() => verified(verifier, choosy.received[0] as Upstream['received'][0])).toThrow();
    } finally {
      await choosy.stop();
      await foreign.stop();
    }
  });
});

describe.runIf(testsOnPostgres)('events of a connection of two processes', () => {
  it('tell once each', async () => {
    const database = await createTestDatabase(pb.dataDir);
    onTestFinished(() => database.drop());
    const other = await rig.start({ database, limits: quick });
    pb = await rig.start({ database, limits: quick });
    verifier = await register(receiver);
    await connectByLogin(pb, 'c', rig.server.mcpUrl);
    rig.server.book.revokeAllGrants();
    await Promise.all([pb, other, pb, other, pb, other].map((each) => mcp(each, 'c', rpc())));
    await logInAgain(other, 'c');
    await untilState(pb, 'c', 'connected');
    await Promise.all([pb, other, pb, other].map((each) => mcp(each, 'c', rpc())));
    await other.restart();
    expect(await typesOf()).toEqual([
      'connection.recovered',
      'connection.auth_required',
      'connection.recovered',
    ]);
  });
});
