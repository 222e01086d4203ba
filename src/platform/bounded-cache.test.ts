import { expect, test } from 'vitest';
import { createBoundedCache } from './bounded-cache.ts';

test('forgets what was unused for longest, once it is full', () => {
  const cache = createBoundedCache<number>(2);
  cache.set('first', 1);
  cache.set('second', 2);
  cache.get('first');
  cache.set('third', 3);

  expect(cache.get('first')).toBe(1);
  expect(cache.get('second')).toBeUndefined();
  expect(cache.get('third')).toBe(3);
});

test('forgets a value when its time is over, also where it was given a time of its own', async () => {
  const cache = createBoundedCache<number>(2, { ttl: 60_000, ttlResolution: 0 });
  cache.set('long', 1);
  cache.set('short', 2, { ttl: 1 });

  await expect.poll(() => cache.get('short')).toBeUndefined();
  expect(cache.get('long')).toBe(1);
});
