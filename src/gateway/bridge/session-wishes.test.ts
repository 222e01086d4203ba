import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/fixtures/database.ts';
import { SteppedClock } from '../../../test/fixtures/stepped-clock.ts';
import { until } from '../../../test/fixtures/until.ts';
import { defaultLimits } from '../../platform/limits.ts';
import { Secret } from '../../platform/secret.ts';
import { openStore, type Store } from '../../platform/store/store.ts';
import { openSessionWishes } from './session-wishes.ts';

const limits = { ...defaultLimits, subscribedResources: 3 };
let dataDir: string;
let database: TestDatabase;
let store: Store;
const clock = new SteppedClock();

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'patchbay-wishes-'));
  database = await createTestDatabase(dataDir);
  store = await openStore({ dataDir, databaseUrl: database.url ? new Secret(database.url) : undefined });
});
afterEach(async () => {
  await store.close();
  await database.drop();
  await rm(dataDir, { recursive: true, force: true });
});

const open = (changed: (idHash: string) => void = () => {}) =>
  openSessionWishes(store, clock, limits, changed);

test('a wish counts at once, in every process that is there, and in those that come later', async () => {
  const mine = await open();
  const theirs = await open();
  await mine.setLogLevel('a', 'debug');
  await mine.setLogLevel('a', 'error');
  await mine.subscribe('a', 'x:1');
  const wishes = { logLevel: 'error', resources: ['x:1'] };
  expect(mine.get('a')).toEqual(wishes);
  await until(() => theirs.get('a').resources.length === 1);
  expect(theirs.get('a')).toEqual(wishes);
  expect((await open()).get('a')).toEqual(wishes);
  expect(mine.get('b')).toEqual({ logLevel: undefined, resources: [] });
});

test('each change of the subscriptions is told of once, and nothing else is', async () => {
  const told: string[] = [];
  const mine = await open((idHash) => told.push(`mine ${idHash}`));
  const theirs = await open((idHash) => told.push(`theirs ${idHash}`));
  await mine.setLogLevel('a', 'debug');
  await mine.subscribe('a', 'x:1');
  await mine.subscribe('a', 'x:1');
  // Word of the changes comes in their order, so once this one is here those are.
  await theirs.subscribe('b', 'x:1');
  await until(() => told.length === 4);
  expect(told.sort()).toEqual(['mine a', 'mine b', 'theirs a', 'theirs b']);
});

test('subscriptions made at once are all kept, up to the limit', async () => {
  const wishes = await open();
  await Promise.all([1, 2, 3].map((n) => wishes.subscribe('a', `x:${n}`)));
  expect(wishes.get('a').resources).toEqual(['x:1', 'x:2', 'x:3']);
  expect(await wishes.subscribe('a', 'x:4')).toBe(false);
  expect(await wishes.subscribe('a', 'x:3')).toBe(true);
  await wishes.unsubscribe('a', 'x:2');
  expect(await wishes.subscribe('a', 'x:4')).toBe(true);
  expect(wishes.get('a').resources).toEqual(['x:1', 'x:3', 'x:4']);
});

test('nothing is left of a session that ended or ran out', async () => {
  const wishes = await open();
  await wishes.subscribe('ended', 'x:1');
  await wishes.subscribe('old', 'x:1');
  await wishes.forget('ended');
  expect(wishes.get('ended').resources).toEqual([]);
  clock.step(limits.callerSessionMs + 1);
  await wishes.subscribe('new', 'x:1');
  const rows = await store.db.selectFrom('session_wishes').select('id_hash').execute();
  expect(rows).toEqual([{ id_hash: 'new' }]);
  expect(wishes.get('old').resources).toEqual([]);
});
