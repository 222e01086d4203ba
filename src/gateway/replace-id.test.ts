import { expect, test } from 'vitest';
import { replaceId } from './replace-id.ts';

test('only the id differs, and the caller\u2019s is kept as it was written', () => {
  for (const id of ['1', '"a\\"b"', '1e3', '12345678901234567890']) {
    const around = (value: string) =>
      `{ "params": {"id":7, "big": 12345678901234567890}, "id" : ${value} , "a":1, "a":2}`;
    const { body, replacedId } = replaceId(Buffer.from(around(id)), 'p-1');
    expect(body.toString()).toBe(around('"p-1"'));
    expect(replacedId?.theirs.toString()).toBe(id);
  }
});

test('a request without an id, or with two, is refused', () => {
  for (const text of ['{"params":{"id":1}}', '{"id":1,"id":2}']) {
    expect(() => replaceId(Buffer.from(text), 'p-1')).toThrow('"id" must be there once.');
  }
});
