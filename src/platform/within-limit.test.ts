import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { withinLimit } from './within-limit.ts';

const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
  });

test('gives what the work gives, and lets go of what it followed', async () => {
  const { signal } = new AbortController();
  let within: AbortSignal | undefined;
  const done = await withinLimit(60_000, [signal], async (limit) => {
    within = limit;
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    return 'done';
  });
  expect(done).toBe('done');
  expect(within?.aborted).toBe(false);
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  await expect(withinLimit(60_000, [signal], () => Promise.reject(new Error('broke')))).rejects.toThrow(
    'broke',
  );
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

test('aborts when the time is up, as a timeout', async () => {
  await expect(withinLimit(1, [], untilAborted)).rejects.toMatchObject({ name: 'TimeoutError' });
});

test('aborts with any of the signals, for its reason, also one that was aborted before', async () => {
  const [first, second] = [new AbortController(), new AbortController()];
  const work = withinLimit(60_000, [first.signal, second.signal], untilAborted);
  second.abort(new Error('left'));
  await expect(work).rejects.toThrow('left');
  await expect(withinLimit(60_000, [first.signal, second.signal], untilAborted)).rejects.toThrow('left');
});
