import { Readable } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UpstreamFault } from '../fault.ts';
import { readEvents, type StreamEvent } from './read-events.ts';

async function eventsOf(chunks: Buffer[], maxChars = 1_000): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for await (const event of readEvents(Readable.from(chunks), maxChars)) events.push(event);
  return events;
}

const stream = Buffer.from(
  '\ufeff: a comment\n\nevent: endpoint\r\ndata: /message?id=1\r\n\r\nid: 7\rdata:{"text":"zwölf 🐙",\rdata: "n":1}\r\r' +
    'event: message\ndata: {}\n\nretry: 10\nunknown: x\ndata: last\n\ndata: cut off',
);
const events = [
  { event: 'endpoint', data: '/message?id=1' },
  { event: undefined, data: '{"text":"zwölf 🐙",\n"n":1}' },
  { event: 'message', data: '{}' },
  { event: undefined, data: 'last' },
];

test('a stream cut in two at any byte has the same events', async () => {
  for (let at = 0; at <= stream.length; at++) {
    expect(await eventsOf([stream.subarray(0, at), stream.subarray(at)]), `cut at ${at}`).toEqual(events);
  }
});

test('so has one that is cut into any pieces, down to single bytes', async () => {
  expect(await eventsOf([...stream].map((byte) => Buffer.of(byte)))).toEqual(events);
  const cuts = fc.uniqueArray(fc.nat(stream.length), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(cuts, async (places) => {
      const bounds = [0, ...places.sort((one, other) => one - other), stream.length];
      const chunks = bounds.slice(1).map((end, index) => stream.subarray(bounds[index], end));
      expect(await eventsOf(chunks)).toEqual(events);
    }),
  );
});

const tooLong: [what: string, text: string][] = [
  ['one line', `data: ${'x'.repeat(1_001)}\n\n`],
  ['many lines', `${'data: xxxxxxxx\n'.repeat(200)}\n`],
  ['a line that never ends', `data: ${'x'.repeat(5_000)}`],
  ['lines that never end', 'data: x\n'.repeat(5_000)],
];
test.each(tooLong)('an event that is too long is refused: %s', async (_what, text) => {
  for (const size of [1, 100, text.length]) {
    const chunks = Array.from({ length: Math.ceil(text.length / size) }, (_, index) =>
      Buffer.from(text.slice(index * size, (index + 1) * size)),
    );
    const read = eventsOf([Buffer.from('data: before\n\n'), ...chunks]);
    await expect(read).rejects.toBeInstanceOf(UpstreamFault);
  }
});

test('many short events are none too many', async () => {
  expect(await eventsOf([Buffer.from('data: x\n\n'.repeat(5_000))], 100)).toHaveLength(5_000);
});

test('no event is lost before the one that is too long', async () => {
  const read: StreamEvent[] = [];
  const body = Readable.from([Buffer.from(`data: first\n\ndata: ${'x'.repeat(2_000)}\n\n`)]);
  const reading = async () => {
    for await (const event of readEvents(body, 1_000)) read.push(event);
  };
  await expect(reading()).rejects.toBeInstanceOf(UpstreamFault);
  expect(read).toEqual([{ event: undefined, data: 'first' }]);
});
