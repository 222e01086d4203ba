import type { IncomingHttpHeaders } from 'node:http';
import type { Principal } from '../../identity/principal.ts';
import { readEnvelope, toLegacyCapabilities } from '../../mcp/era-messages.ts';
import type { IncomingMessage, RequestId } from '../../mcp/message.ts';
import { latestLegacyRevision } from '../../mcp/revisions.ts';
import type { LegacyClient } from '../../upstream/legacy-session.ts';
import type { Downstream } from '../relay-call.ts';
import type { AnswerStream } from './answer-stream.ts';

/** A message of a modern caller, for a connection whose upstream is legacy. */
export interface ModernPost {
  message: IncomingMessage;
  revision: string;
  headers: IncomingHttpHeaders;
  principal: Principal;
}

/** One request on its way. */
export interface ModernPassage extends ModernPost {
  id: RequestId;
  method: string;
  downstream: Downstream;
  stream: AnswerStream;
}

/** The caller as the client of a legacy session: the server is told what the caller declared, and nothing else. */
export function clientOf({ message }: ModernPost): LegacyClient {
  const { capabilities, clientInfo } = readEnvelope(message.params);
  return {
    revision: latestLegacyRevision,
    capabilities: toLegacyCapabilities(capabilities),
    clientInfo: clientInfo ?? { name: 'unknown', version: '0' },
  };
}
