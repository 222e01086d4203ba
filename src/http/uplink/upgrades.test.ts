import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pairingPath } from './upgrades.ts';

test.each([
  ['/acme/laptop', '/uplink/acme/laptop'],
  ['/acme/laptop?force=1', '/uplink/acme/laptop?force=1'],
  ['/connect/acme/laptop', '/uplink/acme/laptop'],
  ['/uplink/acme/laptop', '/uplink/acme/laptop'],
  ['/acme/team/laptop', '/uplink/acme/team%2Flaptop'],
  ['/acme/team%2Flaptop', '/uplink/acme/team%2Flaptop'],
  ['/health', '/health'],
  ['/acme/', '/acme/'],
  ['//laptop', '//laptop'],
])('%s is paired at %s', (url, path) => {
  expect(pairingPath(url)).toBe(path);
});

test('an id in segments and the same id encoded are one', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1, unit: 'grapheme' }), { minLength: 1 }), (segments) => {
      const encoded = segments.map(encodeURIComponent);
      expect(pairingPath(`/acme/${encoded.join('/')}`)).toBe(pairingPath(`/acme/${encoded.join('%2F')}`));
    }),
  );
});
