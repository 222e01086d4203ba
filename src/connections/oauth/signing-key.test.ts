import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createPrivateKeyJwtAuth } from '@modelcontextprotocol/client';
import { describe, expect, test } from 'vitest';
import { readSigningKey, UnusableKey } from './signing-key.ts';

const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }) as string;
const jwk = (key: KeyObject) => key.export({ format: 'jwk' }) as Record<string, unknown>;
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).privateKey;
const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength });
const rsaPair = rsa(2048);

describe('readSigningKey', () => {
  test.each([
    ['P-256', ec('P-256'), 'ES256'],
    ['P-384', ec('P-384'), 'ES384'],
    ['P-521', ec('P-521'), 'ES512'],
    ['RSA', rsaPair.privateKey, 'RS256'],
    ['Ed25519', generateKeyPairSync('ed25519').privateKey, 'EdDSA'],
  ])(
    'reads %s from PEM and from a JWK alike, in a form that the SDK signs with',
    async (_name, key, usual) => {
      const [fromPem, fromJwk] = [readSigningKey(pem(key)), readSigningKey(jwk(key))];
      expect(fromPem.jwk.reveal()).toBe(fromJwk.jwk.reveal());
      expect(fromPem.algorithms[0]).toBe(usual);
      for (const alg of fromPem.algorithms) {
        const privateKey = JSON.parse(fromPem.jwk.reveal());
        const authenticate = createPrivateKeyJwtAuth({ issuer: 'me', subject: 'me', privateKey, alg });
        const parameters = new URLSearchParams();
        await authenticate(new Headers(), parameters, 'https://login.example/token');
        expect(parameters.get('client_assertion')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
      }
    },
  );

  test('keeps the key id of a JWK, and nothing else that is not the key', () => {
    const key = ec('P-256');
    const given = { ...jwk(key), kid: 'k1', alg: 'ES384', use: 'enc', key_ops: ['verify'], extra: 1 };
    expect(JSON.parse(readSigningKey(given).jwk.reveal())).toEqual({ ...jwk(key), kid: 'k1' });
  });

  test.each([
    ['no PEM', 'not a key'],
    ['nothing', ''],
    ['a public key', rsaPair.publicKey.export({ type: 'spki', format: 'pem' }) as string],
    ['a public JWK', jwk(rsaPair.publicKey)],
    ['an encrypted key', encrypted()],
    ['a cut-off key', pem(rsaPair.privateKey).slice(0, 400)],
    ['an empty JWK', {}],
    ['a symmetric JWK', { kty: 'oct', k: 'c2VjcmV0' }],
    ['a JWK of the wrong types', { kty: 'EC', crv: 'P-256', d: 1, x: null, y: [] }],
    ['a short RSA key', pem(rsa(1024).privateKey)],
    ['RSA-PSS', pem(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey)],
    ['another curve', pem(ec('secp256k1'))],
    ['a key that does not sign', pem(generateKeyPairSync('x25519').privateKey)],
  ])('refuses %s', (_name, given) => {
    expect(() => readSigningKey(given)).toThrow(UnusableKey);
  });

  test('says nothing of the key that it refuses', () => {
    const given = 'sentinel-of-a-private-key';
    expect(() => readSigningKey(given)).toThrow(expect.not.stringContaining('sentinel') as never);
  });
});

function encrypted(): string {
  return ec('P-256').export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  }) as string;
}
