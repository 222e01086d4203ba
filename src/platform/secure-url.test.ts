import { expect, test } from 'vitest';
import { isSecureUrl } from './secure-url.ts';

test.each([
  'https://example.com/',
  'http://localhost:8080/x',
  'http://LOCALHOST/',
  'http://a.b.localhost/',
  'http://127.0.0.1/',
  'http://127.1/',
  'http://0x7f000001/',
  'http://[::1]/',
  'http://[0:0:0:0:0:0:0:1]/',
])('%s is secure', (url) => {
  expect(isSecureUrl(new URL(url))).toBe(true);
});

test.each([
  'http://example.com/',
  'http://127.0.0.1.example.com/',
  'http://localhost.example.com/',
  'http://localhost@example.com/',
  'http://notlocalhost/',
  'http://10.0.0.1/',
  'http://127.8.9.10:1/',
  'http://[::]/',
  'http://[::2]/',
  'ftp://localhost/',
  'javascript:alert(1)',
  'wss://example.com/',
])('%s is not', (url) => {
  expect(isSecureUrl(new URL(url))).toBe(false);
});
