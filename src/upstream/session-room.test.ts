import { expect, test } from 'vitest';
import { defaultLimits } from '../platform/limits.ts';
import { Secret } from '../platform/secret.ts';
import { makeRoom } from './session-room.ts';
import { createTarget } from './target.ts';

const target = (host: string) =>
  createTarget('con_1', 1, `https://${host}/mcp`, new Secret([]), defaultLimits);
const session = (host: string, usedAt: number, users = 0) => ({ target: target(host), usedAt, users });
const here = target('a.example').origin;

function discardedBy(room: {
  open: ReturnType<typeof session>[];
  openings?: string[];
  most?: number;
  mostPerOrigin?: number;
}) {
  const { open, openings = [], most = 10, mostPerOrigin = 2 } = room;
  const discarded: unknown[] = [];
  const discard = (one: unknown) => void discarded.push(one);
  const opening = openings.map((host) => ({ target: target(host) }));
  makeRoom(here, { open, openings: opening, most, mostPerOrigin, discard });
  return discarded;
}

test('nobody makes way while there is room', () => {
  expect(
    discardedBy({ open: [session('a.example', 1), session('b.example', 1), session('b.example', 2)] }),
  ).toEqual([]);
});

test('with one origin the idle session with it that is unused the longest makes way', () => {
  const [old, older] = [session('a.example', 2), session('a.example', 1)];
  const open = [session('b.example', 0), old, older, session('a.example', 0, 1)];
  expect(discardedBy({ open, mostPerOrigin: 3 })).toEqual([older]);
});

test('in all the idle session that is unused the longest makes way, whoever it is with', () => {
  const oldest = session('b.example', 0);
  expect(discardedBy({ open: [session('a.example', 1), oldest], most: 2 })).toEqual([oldest]);
});

test('what is being opened takes room too', () => {
  const idle = session('a.example', 1);
  expect(discardedBy({ open: [idle], openings: ['a.example'] })).toEqual([idle]);
  expect(discardedBy({ open: [idle], openings: ['b.example'] })).toEqual([]);
});

test('if all are in use there is none, which says nothing against the upstream', () => {
  const full = { open: [session('a.example', 1, 1), session('b.example', 0)], openings: ['a.example'] };
  expect(() => discardedBy(full)).toThrow(expect.objectContaining({ kind: 'busy' }));
  expect(() => discardedBy({ ...full, most: 3 })).toThrow('too many sessions with this upstream are in use');
});
