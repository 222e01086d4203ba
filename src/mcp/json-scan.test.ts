import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findTopLevelId, hasRepeatedKey, isDeeperThan } from './json-scan.ts';

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

describe('hasRepeatedKey', () => {
  const repeats = (text: string) => hasRepeatedKey(bytes(text));

  test('finds equal keys of one object, however they are spelled and wherever it is', () => {
    expect(repeats('{"a":1,"a":2}')).toBe(true);
    expect(repeats('{"a":1,"\\u0061":2}')).toBe(true);
    expect(repeats('{"params":[{"b":{}, "name":1,\n"Name" :2}]}')).toBe(true);
    expect(repeats('{"params":1,"param\u017f":2}')).toBe(true);
    expect(repeats('{"k":1,"\u212a":2}')).toBe(true);
    expect(repeats('{"a":{"b":[1,"x"]},"A":2}')).toBe(true);
  });

  test('takes no value for a key, and no object for another', () => {
    expect(repeats('{"a":"a","b":["a","a",{"a":1}],"c":{"a":{"a":1}}}')).toBe(false);
    expect(repeats('{"a":"\\",\\"a\\":1"}')).toBe(false);
    expect(repeats('["a","a"]')).toBe(false);
  });

  test('finds none in what was made of a value, and one that is put in', () => {
    const lower = fc.string({ unit: fc.constantFrom('a', 'b', '"', '\\', '{', ',') });
    const value = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        lower,
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(lower, tie('value'), { maxKeys: 4, noNullPrototype: true }),
      ),
    })).value;
    fc.assert(
      fc.property(value, lower, fc.constantFrom(undefined, 1), (any, key, indent) => {
        expect(repeats(JSON.stringify(any, null, indent) ?? 'null')).toBe(false);
        const name = JSON.stringify(key);
        const twice = `{${name}:${JSON.stringify(any)},"other":[1],${name}:1}`;
        expect(repeats(`[${JSON.stringify(any)},${twice}]`)).toBe(true);
      }),
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
