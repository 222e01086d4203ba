import { expect, test } from 'vitest';
import { retryAfterMs } from './retry-after.ts';

const now = Date.parse('Thu, 26 Nov 2026 03:00:00 GMT');

test.each([
  { header: '0', ms: 0 },
  { header: '17', ms: 17_000 },
  { header: ' 17 ', ms: 17_000 },
  { header: 'Thu, 26 Nov 2026 03:00:30 GMT', ms: 30_000 },
  { header: 'Thu, 26 Nov 2026 02:59:00 GMT', ms: 0 },
  { header: undefined, ms: undefined },
  { header: '', ms: undefined },
  { header: '-1', ms: undefined },
  { header: '1.5', ms: undefined },
  { header: '1e3', ms: undefined },
  { header: '99999999999999999999', ms: undefined },
  { header: 'soon', ms: undefined },
  { header: '2026-11-26', ms: undefined },
])('Retry-After "$header" is $ms ms', ({ header, ms }) => {
  expect(retryAfterMs(header, now)).toBe(ms);
});
