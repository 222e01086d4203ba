import type { IncomingHttpHeaders } from 'node:http';
import type { Principal } from '../../identity/principal.ts';
import { toModernCapabilities, toModernParams } from '../../mcp/era-messages.ts';
import type { IncomingMessage, RequestId } from '../../mcp/message.ts';
import type { LegacyClient } from '../../upstream/legacy-session.ts';
import type { ReachedConnection } from '../reach.ts';
import type { Downstream } from '../relay-call.ts';
import type { AnswerStream } from './answer-stream.ts';
import type { Wishes } from './session-wishes.ts';

/** The session of a legacy caller: the hash of its id, and who opened it. */
export interface ClientSession {
  idHash: string;
  client: LegacyClient;
}

/** A message of a legacy caller, for a connection whose upstream is modern. */
export interface LegacyPost {
  message: IncomingMessage;
  body: Buffer;
  headers: IncomingHttpHeaders;
  principal: Principal;
  namespace: string;
  /** undefined for callers that keep none, who are taken for clients that can be asked nothing. */
  session: ClientSession | undefined;
}

/** One request on its way. */
export interface LegacyPassage extends LegacyPost {
  id: RequestId;
  method: string;
  /** What the modern server is told of the caller. */
  client: LegacyClient;
  wishes: Wishes;
  downstream: Downstream;
  stream: AnswerStream;
}

/** The revision in which a modern upstream is spoken to. */
export function modernRevisionOf({ connection }: ReachedConnection): string {
  return connection.protocol.modern as string;
}

/** `params` in the envelope that tells a modern server what the caller said when it initialized. */
export function inEnvelope(
  { client, wishes }: Pick<LegacyPassage, 'client' | 'wishes'>,
  reached: ReachedConnection,
  params: Record<string, unknown> | undefined,
): Record<string, unknown> {
  return toModernParams(params, modernRevisionOf(reached), {
    capabilities: toModernCapabilities(client.capabilities),
    clientInfo: client.clientInfo,
    logLevel: wishes.logLevel,
  });
}
