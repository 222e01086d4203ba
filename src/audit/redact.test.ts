import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redact } from './redact.ts';

describe('redact', () => {
  test.each([
    'password',
    'userPassword',
    'client_secret',
    'apiKey',
    'X-API-Key',
    'access_token',
    'Authorization',
    'cookie',
    'privateKey',
    'pin',
  ])('leaves out what is called %s, whatever it is', (name) => {
    for (const value of ['x', 4711, { nested: 'x' }, ['x']]) {
      expect(redact({ [name]: value, city: 'Paris' }, [])).toEqual({ [name]: '[redacted]', city: 'Paris' });
    }
    expect(redact({ [name]: null }, [])).toEqual({ [name]: null });
  });

  test.each([
    ['Authorization: Bearer abcdefgh12345678', 'Authorization: [redacted]'],
    ['see eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl there', 'see [redacted] there'],
    ['postgres://user:hunter2@db.example/x', 'postgres://[redacted]@db.example/x'],
    ['key sk-abcdefghijklmnopqrst', 'key [redacted]'],
    ['ghp_abcdefghijklmnopqrstuvwxyz0123456789', '[redacted]'],
    ['-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----', '[redacted]'],
  ])('leaves out what looks like a secret: %j', (text, clean) => {
    expect(redact([text], [])).toEqual([clean]);
  });

  test('keeps ordinary text, names and numbers', () => {
    const value = {
      tokens: undefined,
      text: 'The task is done; ask Bea.',
      n: 1,
      list: [true, null],
      pinned: 'x',
    };
    expect(redact({ ...value }, [])).toMatchObject({
      text: value.text,
      n: 1,
      list: [true, null],
      pinned: 'x',
    });
  });

  test('no known secret survives, wherever it stands', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z0-9]{8,20}$/),
        fc.jsonValue(),
        fc.array(fc.string(), { maxLength: 3 }),
        (secret, value, around) => {
          const planted = { [`a${secret}b`]: value, deep: [{ text: around.join(secret) + secret }], secret };
          expect(JSON.stringify(redact(planted, [secret]))).not.toContain(secret);
        },
      ),
    );
  });

  test('is done at once with a text that is made to stall it', () => {
    for (const text of [
      'bearer '.repeat(20_000),
      'eyJ'.repeat(30_000),
      '://:'.repeat(20_000),
      '-----BEGIN '.repeat(9_000),
    ]) {
      const startedAt = performance.now();
      redact(text, []);
      expect(performance.now() - startedAt).toBeLessThan(1_000);
    }
  });
});
