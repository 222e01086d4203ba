import { expect, test } from 'vitest';
import { TickBatch } from './tick-batch.ts';

const untilTickEnds = () => new Promise((resolve) => setImmediate(resolve));

test('what comes in one tick is flushed as one, in its order, when the tick is over', async () => {
  const flushed: string[] = [];
  const batch = new TickBatch((bytes) => flushed.push(bytes.toString()));
  for (const piece of ['a', 'b', 'c']) batch.add(Buffer.from(piece));
  expect(flushed).toEqual([]);
  await untilTickEnds();
  batch.add(Buffer.from('d'));
  await untilTickEnds();
  expect(flushed).toEqual(['abc', 'd']);
});

test('what was flushed early is not flushed again', async () => {
  const flushed: string[] = [];
  const batch = new TickBatch((bytes) => flushed.push(bytes.toString()));
  batch.flush();
  batch.add(Buffer.from('a'));
  batch.add(Buffer.from('b'));
  batch.flush();
  expect(flushed).toEqual(['ab']);
  batch.add(Buffer.from('c'));
  await untilTickEnds();
  expect(flushed).toEqual(['ab', 'c']);
});

test('what was begun is flushed when the tick is over, once, also with nothing in it', async () => {
  const flushed: string[] = [];
  const batch = new TickBatch((bytes) => flushed.push(bytes.toString()));
  batch.begin();
  batch.add(Buffer.from('a'));
  expect(flushed).toEqual([]);
  await untilTickEnds();
  expect(flushed).toEqual(['a']);
  batch.begin();
  await untilTickEnds();
  expect(flushed).toEqual(['a', '']);
});
