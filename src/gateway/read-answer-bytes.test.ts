import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AnswerSign, judgeAnswer, smallAnswerBytes } from './read-answer-bytes.ts';

const judge = (text: string, id: string | number = 1) =>
  judgeAnswer(Buffer.from(text).toString('latin1'), id);
const answer = (rest: object) => JSON.stringify({ jsonrpc: '2.0', id: 1, ...rest });
const noJsonRpc = { problem: 'answered JSON that is no JSON-RPC' };

describe('judgeAnswer', () => {
  test('takes the answer to the request, however it is written', () => {
    for (const text of [
      answer({ result: {} }),
      '{ "jsonrpc": "2.0", "id": 1, "result": {} }',
      '\n{"result":{"id":2},"id":1,"jsonrpc":"2.0"} ',
      '{"jsonrpc":"2.0","\\u0069d":1,"result":{}}',
      answer({ result: { content: [{ type: 'text', text: 'said "error"' }], error: true } }),
    ]) {
      expect(judge(text), text).toEqual({});
    }
    expect(judge(answer({ id: 'a"b', result: {} }), 'a"b')).toEqual({});
  });

  test('says that a small answer is an error, also one without an id', () => {
    for (const text of [
      answer({ error: { code: -32001, message: 'gone' } }),
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"the result is lost"}}',
      '{"jsonrpc":"2.0","error":{"code":-32001,"message":"\\"result\\""},"id":1}',
    ]) {
      expect(judge(text), text).toEqual({ error: { code: -32001 } });
    }
  });

  test('says what is wrong with what is no answer to the request', () => {
    expect(judge('{"jsonrpc":"2.0","id":1,"result":{')).toEqual({
      problem: 'answered JSON that does not parse',
    });
    expect(judge('')).toEqual({ problem: 'answered JSON that does not parse' });
    expect(judge(answer({ id: 2, result: {} }))).toEqual({
      problem: 'answered another request than was asked',
    });
    for (const text of ['[]', 'null', '{"id":1}', answer({}), answer({ result: 3 }), '{"id":1,"ok":true}']) {
      expect(judge(text), text).toEqual(noJsonRpc);
    }
    expect(judge(answer({ result: {}, error: { code: 1 } }))).toEqual(noJsonRpc);
  });

  test('judges a large answer by its ends and keys alone', () => {
    const text = 'x'.repeat(smallAnswerBytes);
    expect(judge(answer({ result: { text } }))).toEqual({});
    expect(judge(answer({ result: { text } }).slice(0, -2))).toHaveProperty('problem');
    expect(judge(answer({ id: 2, result: { text } }))).toHaveProperty('problem');
  });

  test('agrees with a parser on every result and every error', () => {
    const id = fc.oneof(fc.string(), fc.integer());
    const rest = fc.oneof(
      fc.record({ result: fc.object() }),
      fc.record({ error: fc.record({ code: fc.integer(), message: fc.string() }) }),
    );
    fc.assert(
      fc.property(id, rest, fc.boolean(), (given, said, isSpaced) => {
        const text = JSON.stringify({ jsonrpc: '2.0', id: given, ...said }, undefined, isSpaced ? 2 : 0);
        const expected = 'error' in said ? { error: { code: said.error.code } } : {};
        expect(judge(text, given)).toEqual(expected);
      }),
    );
  });
});

describe('AnswerSign', () => {
  const text = 'data: {"jsonrpc":"2.0","method":"x"}\n\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n';

  test('sees the key of an answer however its stream is cut', () => {
    for (let first = 0; first <= text.length; first++) {
      for (const second of [first + 1, first + 3, first + 8, first + 20]) {
        const sign = new AnswerSign();
        for (const piece of [text.slice(0, first), text.slice(first, second), text.slice(second)]) {
          sign.look(Buffer.from(piece));
        }
        expect(sign.seen, `cut at ${first} and ${second}`).toBe(true);
      }
    }
    const byBytes = new AnswerSign();
    for (const char of text) byBytes.look(Buffer.from(char));
    expect(byBytes.seen).toBe(true);
  });

  test('sees none where there is none', () => {
    const sign = new AnswerSign();
    for (const char of text.replace('"result"', '"results"')) sign.look(Buffer.from(char));
    expect(sign.seen).toBe(false);
  });
});
