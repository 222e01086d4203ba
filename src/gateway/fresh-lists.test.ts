import { expect, test } from 'vitest';
import { defaultLimits } from '../platform/limits.ts';
import { ChangeFeed } from '../upstream/change-feed.ts';
import type { Target } from '../upstream/target.ts';
import { createFreshLists } from './fresh-lists.ts';

const target = (uid: string, version = 1) => ({ uid, version }) as Target;
const tools = [{ name: 'echo' }];

test('a list is kept for its connection and credentials alone, and each kind for itself', () => {
  const lists = createFreshLists(defaultLimits, new ChangeFeed());
  lists.keep('tools', target('con_1'), tools, 60_000);
  expect(lists.get('tools', target('con_1'))).toBe(tools);
  expect(lists.get('tools', target('con_2'))).toBeUndefined();
  expect(lists.get('tools', target('con_1', 2))).toBeUndefined();
  expect(lists.get('prompts', target('con_1'))).toBeUndefined();
});

test.each([0, -1, Number.NaN])('a list that holds for %d ms is stale at once', (ttlMs) => {
  const lists = createFreshLists(defaultLimits, new ChangeFeed());
  lists.keep('tools', target('con_1'), tools, ttlMs);
  expect(lists.get('tools', target('con_1'))).toBeUndefined();
});

test('a change that the server tells of ends all that was kept of it, and of no other', () => {
  const feed = new ChangeFeed();
  const lists = createFreshLists(defaultLimits, feed);
  for (const uid of ['con_1', 'con_2']) lists.keep('tools', target(uid), tools, 60_000);
  feed.tell('con_1', { method: 'notifications/tools/list_changed' });
  expect(lists.get('tools', target('con_1'))).toBeUndefined();
  expect(lists.get('tools', target('con_2'))).toBe(tools);
  lists.keep('tools', target('con_1'), tools, 60_000);
  expect(lists.get('tools', target('con_1'))).toBe(tools);
});
