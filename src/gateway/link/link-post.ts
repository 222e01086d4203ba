import type { IncomingHttpHeaders } from 'node:http';
import type { Principal } from '../../identity/principal.ts';
import type { IncomingMessage } from '../../mcp/message.ts';
import type { LinkSessions } from '../../upstream/link-sessions.ts';
import type { AnswerStream } from '../bridge/answer-stream.ts';
import type { Downstream } from '../relay-call.ts';

/** A message of a legacy caller, for a connection whose upstream is reached over a link. */
export interface LinkPost {
  message: IncomingMessage;
  headers: IncomingHttpHeaders;
  body: Buffer;
  principal: Principal;
  /** The sessions of that upstream. */
  link: LinkSessions;
}

/** One on its way. */
export interface LinkPassage extends LinkPost {
  downstream: Downstream;
  stream: AnswerStream;
}
