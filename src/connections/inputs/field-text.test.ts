import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cleanText, readableName } from './field-text.ts';

describe('cleanText', () => {
  test.each([
    ['  Your\tAPI\r\n key ', 'Your API key'],
    ['a\u0000b\u001b[31mc', 'a b [31mc'],
    ['safe\u202etxt.exe\u2066', 'safetxt.exe'],
    ['a \u202e b', 'a b'],
    ['\ud83d', ''],
    ['\u200b\u2060', ''],
    ['schlüssel 🔑', 'schlüssel 🔑'],
    ['', ''],
  ])('%j becomes %j', (given, clean) => {
    expect(cleanText(given, 100)).toBe(clean);
  });

  test.each([[undefined], [null], [7], [{ toString: () => 'x' }], [['x']]])('%j is no text', (value) => {
    expect(cleanText(value, 100)).toBe('');
  });

  test('cuts between characters', () => {
    expect(cleanText('🔑🔑🔑', 2)).toBe('🔑🔑');
    expect(cleanText('ab cd', 3)).toBe('ab');
  });

  test('any text becomes one well-formed line within the limit, and stays as it is the second time', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 20 }), (text, max) => {
        const clean = cleanText(text, max);
        expect([...clean].length).toBeLessThanOrEqual(max);
        expect(clean.isWellFormed()).toBe(true);
        expect(clean).not.toMatch(/\p{Cc}|\p{Bidi_Control}|^\s|\s$/u);
        expect(cleanText(clean, max)).toBe(clean);
      }),
    );
  });
});

describe('readableName', () => {
  test.each([
    ['exaApiKey', 'Exa api key'],
    ['X-API-Key', 'API key'],
    ['nextcloud_url', 'Nextcloud url'],
    ['APIKey', 'API key'],
    ['oauth2Token', 'Oauth2 token'],
    ['db.host', 'Db host'],
    ['___', '___'],
    ['x', 'X'],
  ])('%s is %s', (name, readable) => {
    expect(readableName(name)).toBe(readable);
  });
});
