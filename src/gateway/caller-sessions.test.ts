import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Keyring } from '../platform/keyring.ts';
import { Secret } from '../platform/secret.ts';
import { openStore, type Store } from '../platform/store/store.ts';
import { newKeyBytes } from '../platform/vault.ts';
import { type CallerSessions, createCallerSessions, type SessionOwner } from './caller-sessions.ts';
import { type EndedSessions, openEndedSessions } from './ended-sessions.ts';

const lifeMs = 60_000;
const owner: SessionOwner = { uid: 'con_1', targetVersion: 3, caller: 'key_1' };

/** A clock that moves when a test says so. */
function manualClock() {
  let time = 1_700_000_000_000;
  const now = () => time;
  const set = (to: number) => {
    time = to;
  };
  return { now, set, elapsed: now, after: () => () => {} };
}

function keyringOf(key = newKeyBytes()): Keyring {
  return { derive: () => new Secret(key) } as unknown as Keyring;
}

/** Ended sessions that live in memory alone. */
function inMemory(): EndedSessions {
  const ended = new Set<string>();
  return { has: (hash) => ended.has(hash), add: async (hash) => void ended.add(hash) };
}

describe('the id of a caller’s session', () => {
  let clock: ReturnType<typeof manualClock>;
  let sessions: CallerSessions;
  beforeEach(() => {
    clock = manualClock();
    sessions = createCallerSessions(keyringOf(), clock.now, lifeMs, inMemory());
  });

  test('opens to the upstream’s, whatever that is', () => {
    const parts = fc.record({ uid: fc.string(), targetVersion: fc.nat(), caller: fc.string() });
    fc.assert(
      fc.property(parts, fc.string({ unit: 'binary' }), (whose, upstreamId) => {
        expect(sessions.open(whose, sessions.seal(whose, upstreamId))).toBe(upstreamId);
      }),
    );
  });

  test('of a caller whose server keeps no sessions opens to what the caller said of itself, for that caller alone', () => {
    const client = fc.record({
      revision: fc.string(),
      capabilities: fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }),
      clientInfo: fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }),
    });
    const others: SessionOwner[] = [
      { ...owner, uid: 'con_2' },
      { ...owner, targetVersion: 4 },
      { ...owner, caller: 'key_2' },
    ];
    fc.assert(
      fc.property(client, (said) => {
        const id = sessions.sealClient(owner, said);
        expect(JSON.stringify(sessions.openClient(owner, id))).toBe(JSON.stringify(said));
        for (const other of others) expect(sessions.openClient(other, id)).toBeUndefined();
        // Neither kind passes for the other one.
        expect(sessions.open(owner, id)).toBeUndefined();
        expect(sessions.openClient(owner, sessions.seal(owner, JSON.stringify(said)))).toBeUndefined();
      }),
    );
  });

  test('is visible ASCII without a word of the upstream’s, and another one each time', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12 }), (upstreamId) => {
        const ids = [sessions.seal(owner, upstreamId), sessions.seal(owner, upstreamId)];
        expect(new Set(ids).size).toBe(2);
        for (const id of ids) {
          // MCP 2025-11-25, basic/transports: 0x21 to 0x7E.
          expect(id).toMatch(/^[\x21-\x7e]+$/);
          expect(Buffer.from(id, 'base64url').includes(upstreamId)).toBe(false);
        }
      }),
    );
  });

  test('is none once any character of it changed', () => {
    const id = sessions.seal(owner, 'upstream-session');
    fc.assert(
      fc.property(fc.nat(id.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
        const changed = id.slice(0, at) + character + id.slice(at + 1);
        expect(sessions.open(owner, changed)).toBe(changed === id ? 'upstream-session' : undefined);
      }),
    );
    // Each other last character, some of which decode to the same bytes.
    for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=') {
      const changed = id.slice(0, -1) + character;
      if (changed !== id) expect(sessions.open(owner, changed)).toBeUndefined();
    }
  });

  test('is none once anything was added, taken away, or spelt otherwise', () => {
    // Lengths whose base64 ends in each of the three ways.
    for (const upstreamId of ['s', 'se', 'ses']) {
      const id = sessions.seal(owner, upstreamId);
      const added = [`${id}=`, `${id}==`, ` ${id}`, `${id}\n`, `${id}A`, `A${id}`, `${id}, ${id}`];
      const others = [id.slice(1), id.slice(0, -1), id.toLowerCase(), `${id.slice(0, 9)}=${id.slice(9)}`];
      for (const other of [...added, ...others]) expect(sessions.open(owner, other)).toBeUndefined();
      const standard = Buffer.from(id, 'base64url').toString('base64');
      if (standard !== id) expect(sessions.open(owner, standard)).toBeUndefined();
    }
  });

  test('is none if it never was one', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.uuid()), (text) => {
        expect(sessions.open(owner, text)).toBeUndefined();
      }),
    );
    expect(sessions.open(owner, '')).toBeUndefined();
    expect(sessions.open(owner, 'A'.repeat(10_000))).toBeUndefined();
  });

  test.each<[what: string, other: Partial<SessionOwner>]>([
    ['another connection', { uid: 'con_2' }],
    ['other credentials', { targetVersion: 4 }],
    ['another caller', { caller: 'key_2' }],
    ['parts that read the same in a row', { uid: 'con_13', targetVersion: 0 }],
  ])('is none for %s', (_what, other) => {
    const id = sessions.seal(owner, 'upstream-session');
    expect(sessions.open({ ...owner, ...other }, id)).toBeUndefined();
    expect(sessions.open(owner, id)).toBe('upstream-session');
  });

  test('is none under another master key', () => {
    const other = createCallerSessions(keyringOf(), clock.now, lifeMs, inMemory());
    expect(other.open(owner, sessions.seal(owner, 'upstream-session'))).toBeUndefined();
  });

  test('runs out', () => {
    const id = sessions.seal(owner, 'upstream-session');
    clock.set(clock.now() + lifeMs - 1);
    expect(sessions.open(owner, id)).toBe('upstream-session');
    clock.set(clock.now() + 1);
    expect(sessions.open(owner, id)).toBeUndefined();
  });

  test('that was ended is none, and the others still are', async () => {
    const [one, other] = [sessions.seal(owner, 'one'), sessions.seal(owner, 'other')];
    await sessions.end(one);
    expect(sessions.open(owner, one)).toBeUndefined();
    expect(sessions.open(owner, other)).toBe('other');
  });
});

describe('an ended session', () => {
  let dataDir: string;
  let store: Store;
  let clock: ReturnType<typeof manualClock>;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'patchbay-ended-'));
    store = await openStore({ dataDir, databaseUrl: undefined });
    clock = manualClock();
  });
  afterEach(async () => {
    await store.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  const open = (ended: (idHash: string) => void = () => {}) => openEndedSessions(store, clock, ended);
  const rows = async () =>
    (await store.db.selectFrom('ended_sessions').select('id_hash').execute()).map(({ id_hash }) => id_hash);

  test('is known at once, to everyone who shares the store', async () => {
    const [one, other] = [await open(), await open()];
    await one.add('hash', clock.now() + lifeMs);
    expect([one.has('hash'), other.has('hash'), one.has('another')]).toEqual([true, true, false]);
  });

  test('is told of, wherever it was ended', async () => {
    const told: string[] = [];
    await open((idHash) => told.push(idHash));
    await (await open()).add('hash', clock.now() + lifeMs);
    expect(told).toEqual(['hash']);
  });

  test('is known after a restart', async () => {
    await (await open()).add('hash', clock.now() + lifeMs);
    await store.close();
    store = await openStore({ dataDir, databaseUrl: undefined });
    expect((await open()).has('hash')).toBe(true);
  });

  test('may be ended again, also by two at once', async () => {
    const ended = await open();
    await Promise.all([ended.add('hash', clock.now() + lifeMs), ended.add('hash', clock.now() + lifeMs)]);
    await ended.add('hash', clock.now() + lifeMs);
    expect(await rows()).toEqual(['hash']);
  });

  test('is forgotten, in memory and in the store, only once its id has run out', async () => {
    const ended = await open();
    await ended.add('first', clock.now() + lifeMs);
    clock.set(clock.now() + lifeMs - 1);
    await ended.add('second', clock.now() + lifeMs);
    expect(await rows()).toEqual(['first', 'second']);
    expect(ended.has('first')).toBe(true);
    clock.set(clock.now() + 1);
    await ended.add('third', clock.now() + lifeMs);
    expect(await rows()).toEqual(['second', 'third']);
    expect([ended.has('first'), ended.has('second'), ended.has('third')]).toEqual([false, true, true]);
  });

  test('that is learnt while the rows are read again stays known', async () => {
    const listeners: ((key: string | null) => void)[] = [];
    const read = Promise.withResolvers<{ id_hash: string; expires_at: number }[]>();
    let reads = 0;
    const query = {
      select: () => query,
      where: () => query,
      orderBy: () => query,
      execute: () => (reads++ === 0 ? Promise.resolve([]) : read.promise),
    };
    const slow = {
      db: { selectFrom: () => query },
      onStale: (listener: (key: string | null) => void) => void listeners.push(listener),
    } as unknown as Store;
    const ended = await openEndedSessions(slow, clock, () => {});
    // The break of a listening socket, and then what another process ended.
    listeners[0]?.(null);
    listeners[0]?.(`ended-session:late:${clock.now() + lifeMs}`);
    read.resolve([{ id_hash: 'early', expires_at: clock.now() + lifeMs }]);
    await expect.poll(() => ended.has('early')).toBe(true);
    expect(ended.has('late')).toBe(true);
  });
});
