import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IdRestorer } from './restore-id.ts';

const ours = 'pb-0123456789ab-z';

function restore(chunks: Buffer[], theirs: string): string {
  const restorer = new IdRestorer(ours, Buffer.from(theirs));
  const out = chunks.map((chunk) => restorer.push(chunk));
  return Buffer.concat([...out, restorer.flush()]).toString('utf8');
}

test('restores the id in JSON and in events, split at any byte', () => {
  for (const answer of [
    `{"result":{"x":"\\"${ours}\\""},"jsonrpc":"2.0","id":"${ours}"}`,
    `id: 1\ndata: {"jsonrpc":"2.0","id": "${ours}","result":{}}\n\ndata: {"id":"${ours}"}\n\n`,
  ]) {
    const bytes = Buffer.from(answer);
    const expected = answer.replaceAll(new RegExp(`(?<!\\\\)"${ours}"`, 'g'), '42');
    for (let at = 0; at <= bytes.length; at++) {
      expect(restore([bytes.subarray(0, at), bytes.subarray(at)], '42')).toBe(expected);
    }
    expect(
      restore(
        [...bytes].map((byte) => Buffer.from([byte])),
        '42',
      ),
    ).toBe(expected);
  }
});

test('changes nothing else, for any bytes in any chunks', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 30 })), (texts) => {
      fc.pre(!texts.join('').includes(ours));
      expect(
        restore(
          texts.map((text) => Buffer.from(text)),
          '"theirs"',
        ),
      ).toBe(texts.map((text) => Buffer.from(text).toString('utf8')).join(''));
    }),
  );
});

test('an id that begins like ours and ends otherwise stays as it is', () => {
  const text = `{"a":"${ours.slice(0, -1)}","b":"${ours}x","id":"${ours}"}`;
  expect(restore([Buffer.from(text.slice(0, 20)), Buffer.from(text.slice(20))], '1')).toBe(
    `{"a":"${ours.slice(0, -1)}","b":"${ours}x","id":1}`,
  );
});
