import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findTopLevelId, isDeeperThan } from './json-scan.ts';

const bytes = (text: string) => Buffer.from(text, 'utf8');

function idText(text: string): string | undefined {
  const span = findTopLevelId(bytes(text));
  if (span === undefined || span === 'repeated') return span;
  return bytes(text).subarray(span.start, span.end).toString('utf8');
}

describe('findTopLevelId', () => {
  test('finds the id wherever it stands, whatever stands in it', () => {
    expect(idText('{"jsonrpc":"2.0","id":7,"method":"m"}')).toBe('7');
    expect(idText('{"params":{"id":1,"a":[{"id":2}]},\n "id" :  "x\\"}{" }')).toBe('"x\\"}{"');
    expect(idText('{"id":null}')).toBe('null');
    expect(idText('{"id":-1.5e3\n}')).toBe('-1.5e3');
    expect(idText('{"\\u0069d":3}')).toBe('3');
  });

  test('is not misled by values, nested keys and strings that look like one', () => {
    expect(idText('{"method":"id","params":{"id":1}}')).toBeUndefined();
    expect(idText('{"a":"\\"id\\":5"}')).toBeUndefined();
  });

  test('says so when the key is there twice', () => {
    expect(idText('{"id":1,"id":2}')).toBe('repeated');
    expect(idText('{"id":1,"\\u0069d":2}')).toBe('repeated');
  });

  test('agrees with the parser for any JSON object', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })),
        fc.option(fc.oneof(fc.string(), fc.integer()), { nil: undefined }),
        fc.constantFrom(undefined, 1, 2, '\t'),
        (rest, id, indent) => {
          const { id: _dropped, ...others } = rest;
          const text = JSON.stringify(id === undefined ? others : { ...others, id }, null, indent);
          expect(idText(text)).toBe(id === undefined ? undefined : JSON.stringify(id));
        },
      ),
    );
  });
});

describe('isDeeperThan', () => {
  test('counts brackets outside strings', () => {
    const nested = (depth: number) => bytes(`${'['.repeat(depth)}${']'.repeat(depth)}`);
    expect(isDeeperThan(nested(10), 10)).toBe(false);
    expect(isDeeperThan(nested(11), 10)).toBe(true);
    expect(isDeeperThan(bytes(JSON.stringify('['.repeat(100))), 10)).toBe(false);
    expect(isDeeperThan(bytes(JSON.stringify([`"${'{'.repeat(100)}`])), 10)).toBe(false);
  });

  test('ends on text that is no JSON', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (text) => typeof isDeeperThan(text, 3) === 'boolean'),
    );
  });
});
