import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Secret } from './secret.ts';
import { keyVersionOf, newKeyBytes, seal, UnsealError, unseal } from './vault.ts';

const key = new Secret(newKeyBytes());
const identity = ['default', 'connections', 'con_1', 'headers'];

describe('the vault', () => {
  test('opens what it sealed, for any bytes and identity', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.array(fc.string()), fc.nat(1000), (plain, names, version) => {
        const sealed = seal(key, version, names, Buffer.from(plain));
        expect(unseal(key, names, sealed)).toEqual(Buffer.from(plain));
        expect(keyVersionOf(sealed)).toBe(version);
      }),
    );
  });

  test('seals the same value differently each time', () => {
    expect(seal(key, 1, identity, Buffer.from('x'))).not.toBe(seal(key, 1, identity, Buffer.from('x')));
  });

  test('does not open for another row, with another key, or after any change', () => {
    const sealed = seal(key, 1, identity, Buffer.from('secret'));
    expect(() => unseal(key, ['default', 'connections', 'con_2', 'headers'], sealed)).toThrow(UnsealError);
    expect(() => unseal(new Secret(newKeyBytes()), identity, sealed)).toThrow(UnsealError);
    const bytes = Buffer.from(sealed, 'base64url');
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes);
      changed[i] = (changed[i] as number) ^ 1;
      expect(() => unseal(key, identity, changed.toString('base64url'))).toThrow(UnsealError);
    }
  });

  test('tells identities apart that only join alike', () => {
    const sealed = seal(key, 1, ['a', 'bc'], Buffer.from('x'));
    expect(() => unseal(key, ['ab', 'c'], sealed)).toThrow(UnsealError);
  });

  test('refuses what is no sealed value', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => unseal(key, identity, text)).toThrow(UnsealError);
      }),
    );
  });
});
