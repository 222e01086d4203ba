import { describe, expect, test } from 'vitest';
import { isMoved, isReservedSource, isSendable, placeKey } from './place.ts';

const header = (name: string) => ({ kind: 'header' as const, name });
const query = (name: string) => ({ kind: 'query' as const, name });

describe('places', () => {
  test('are the same header whatever the case, but not the same parameter', () => {
    expect(placeKey(header('X-Key'))).toBe(placeKey(header('x-key')));
    expect(placeKey(query('Key'))).not.toBe(placeKey(query('key')));
    expect(placeKey(header('key'))).not.toBe(placeKey(query('key')));
    expect(isMoved({ from: header('X-Key'), to: header('x-key') })).toBe(false);
    expect(isMoved({ from: header('key'), to: query('key') })).toBe(true);
  });

  test.each(['x-api-key', 'Authorization', 'cookie', 'toString', 'constructor'])(
    'header %s can be sent',
    (name) => {
      expect(isSendable(header(name), 128)).toBe(true);
    },
  );

  test.each([
    '',
    'x key',
    'x-key:',
    'x\r\nhost',
    'schlüssel',
    'Host',
    'content-length',
    'Content-Type',
    'accept',
    'Transfer-Encoding',
    'connection',
    'mcp-session-id',
    'MCP-Protocol-Version',
    'mcp-param-x',
    '__proto__',
    'x'.repeat(129),
  ])('header %j cannot be sent', (name) => {
    expect(isSendable(header(name), 128)).toBe(false);
  });

  test.each(['key', 'a.b.c', 'filter[id]', 'api key', 'ключ', '&=#?+%', 'toString'])(
    'parameter %j can be sent',
    (name) => {
      expect(isSendable(query(name), 128)).toBe(true);
    },
  );

  test.each([
    '',
    ' ',
    ' a',
    'a  b',
    'a\nb',
    'a\u0000',
    '\u202ea',
    '\u200b',
    '\ud800',
    '__proto__',
    'a.__proto__.b',
  ])('parameter %j cannot be sent', (name) => {
    expect(isSendable(query(name), 128)).toBe(false);
  });

  test.each(['Authorization', 'cookie', 'CF-Connecting-IP', 'smithery-key', 'mcp-anything'])(
    '%s is reserved as a header, not as a parameter',
    (name) => {
      expect(isReservedSource(header(name))).toBe(true);
      expect(isReservedSource(query(name))).toBe(false);
    },
  );

  test.each(['x-authorization', 'authorization-key', 'cookies', 'cfg', 'x-smithery-key'])(
    '%s is not reserved',
    (name) => {
      expect(isReservedSource(header(name))).toBe(false);
    },
  );
});
