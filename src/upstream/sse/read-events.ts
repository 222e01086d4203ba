import type { Readable } from 'node:stream';
import { createParser } from 'eventsource-parser';
import { tooLarge } from '../exchange.ts';

/** One event of a stream (HTML, server-sent events). */
export interface StreamEvent {
  /** undefined for the default, `message`. */
  event: string | undefined;
  data: string;
}

/**
 * The events of a stream that carry data, one by one, however its bytes are cut. Reads on when the last one has been
 * taken, so a slow reader holds the sender up. Throws UpstreamFault for an event of more than `maxChars`, and what the
 * stream throws.
 */
export async function* readEvents(
  body: Readable,
  maxChars: number,
): AsyncGenerator<StreamEvent, void, undefined> {
  let whole: StreamEvent[] = [];
  let isTooLarge = false;
  const parser = createParser({
    maxBufferSize: maxChars,
    onEvent: ({ event, data }) => {
      if (data.length > maxChars) isTooLarge = true;
      else whole.push({ event, data });
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') isTooLarge = true;
    },
  });
  const decoder = new TextDecoder();
  for await (const chunk of body as AsyncIterable<Buffer>) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    const events = whole;
    whole = [];
    yield* events;
    if (isTooLarge) throw tooLarge(maxChars);
  }
}
