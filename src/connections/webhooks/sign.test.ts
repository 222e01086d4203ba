import fc from 'fast-check';
import { Webhook as Verifier } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { Secret } from '../../platform/secret.ts';
import { newWebhookSecret, shownSecret, signedHeaders } from './sign.ts';

describe('a signature', () => {
  test('is the one that the reference library makes, for every secret, id, time and body', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 24, maxLength: 64 }),
        fc.stringMatching(/^msg_[\w-]{1,40}$/),
        fc.integer({ min: 0, max: 4_102_444_800_999 }),
        fc.string({ unit: 'binary' }),
        (bytes, id, at, body) => {
          const secret = new Secret(Buffer.from(bytes));
          const headers = signedHeaders(secret, id, at, body);
          const expected = new Verifier(shownSecret(secret)).sign(id, new Date(at), body);
          expect(headers).toEqual({
            'webhook-id': id,
            'webhook-timestamp': String(Math.floor(at / 1000)),
            'webhook-signature': expected,
          });
        },
      ),
    );
  });

  test('is the one that other senders publish as their example', () => {
    const secret = new Secret(Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64'));
    const headers = signedHeaders(
      secret,
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1_614_265_330_000,
      '{"test": 2432232314}',
    );
    expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  test('does not hold for another body, id, time or secret', () => {
    const secret = newWebhookSecret();
    const verifier = new Verifier(shownSecret(secret));
    const now = Date.now();
    const headers = signedHeaders(secret, 'msg_1', now, '{"a":1}');
    expect(verifier.verify('{"a":1}', headers)).toEqual({ a: 1 });
    expect(() => verifier.verify('{"a":2}', headers)).toThrow();
    expect(() => verifier.verify('{"a":1}', { ...headers, 'webhook-id': 'msg_2' })).toThrow();
    const later = { ...headers, 'webhook-timestamp': String(Math.floor(now / 1000) + 1) };
    expect(() => verifier.verify('{"a":1}', later)).toThrow();
    expect(() => new Verifier(shownSecret(newWebhookSecret())).verify('{"a":1}', headers)).toThrow();
  });
});

describe('a secret', () => {
  test('is new each time, has 24 to 64 bytes, and is shown with its prefix only where asked', () => {
    const secret = newWebhookSecret();
    const shown = shownSecret(secret);
    expect(shown).toMatch(/^whsec_[A-Za-z0-9+/]+={0,2}$/);
    const bytes = Buffer.from(shown.slice('whsec_'.length), 'base64');
    expect(bytes.length).toBeGreaterThanOrEqual(24);
    expect(bytes.length).toBeLessThanOrEqual(64);
    expect(shownSecret(newWebhookSecret())).not.toBe(shown);
    expect(JSON.stringify({ secret }) + String(secret)).not.toContain(shown.slice(6, 20));
  });
});
