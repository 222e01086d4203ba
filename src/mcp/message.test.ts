import { describe, expect, test } from 'vitest';
import { ApiError } from '../platform/errors.ts';
import { readMessage, revisionOf } from './message.ts';

describe('readMessage', () => {
  test('reads requests and notifications', () => {
    expect(readMessage({ jsonrpc: '2.0', id: 'a', method: 'm', params: {} })).toEqual({
      id: 'a',
      method: 'm',
      params: {},
    });
    expect(readMessage({ jsonrpc: '2.0', method: 'm' }).id).toBeUndefined();
  });

  test.each([
    [[]],
    [[{ jsonrpc: '2.0', id: 1, method: 'm' }]],
    [null],
    ['x'],
    [{}],
    [{ jsonrpc: '1.0', id: 1, method: 'm' }],
    [{ jsonrpc: '2.0', id: 1, result: {} }],
    [{ jsonrpc: '2.0', id: null, method: 'm' }],
    [{ jsonrpc: '2.0', id: {}, method: 'm' }],
    [{ jsonrpc: '2.0', id: 1, method: '' }],
    [{ jsonrpc: '2.0', id: 1, method: 'm', params: [] }],
  ])('refuses %j', (value) => {
    expect(() => readMessage(value)).toThrow(ApiError);
  });
});

describe('revisionOf', () => {
  const message = (params?: Record<string, unknown>) => ({ method: 'm', id: 1, params });
  const envelope = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } };

  test('the envelope makes a request modern, whatever the header says', () => {
    expect(revisionOf(message(envelope), '2025-11-25')).toMatchObject({
      era: 'modern',
      revision: '2026-07-28',
    });
  });

  test('without one, the header tells the era; without a header it is legacy', () => {
    expect(revisionOf(message(), '2026-07-28').era).toBe('modern');
    expect(revisionOf(message(), '2025-06-18')).toEqual({
      era: 'legacy',
      revision: '2025-06-18',
      stated: true,
    });
    expect(revisionOf(message(), undefined)).toMatchObject({ era: 'legacy', stated: false });
  });

  test('a header that is no revision is refused', () => {
    expect(() => revisionOf(message(), 'latest')).toThrow(ApiError);
  });
});
