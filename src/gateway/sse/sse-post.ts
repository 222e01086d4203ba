import type { IncomingHttpHeaders } from 'node:http';
import type { Principal } from '../../identity/principal.ts';
import type { IncomingMessage } from '../../mcp/message.ts';
import type { AnswerStream } from '../bridge/answer-stream.ts';
import type { Downstream } from '../relay-call.ts';

/** A message of a legacy caller, for a connection whose upstream speaks HTTP+SSE. */
export interface SsePost {
  message: IncomingMessage;
  headers: IncomingHttpHeaders;
  body: Buffer;
  principal: Principal;
}

/** One on its way. */
export interface SsePassage extends SsePost {
  downstream: Downstream;
  stream: AnswerStream;
}
