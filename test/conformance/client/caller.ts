import { createParser } from 'eventsource-parser';
import { modernMeta } from '../../../src/mcp/message.ts';
import { eraOf } from '../../../src/mcp/revisions.ts';

/** The answer to one call: its result, or where the user of the connection must log in first. */
type Called = { result: Record<string, unknown> } | { authorizationUrl: string };

/** Calls an MCP endpoint of Patchbay, statelessly: in the legacy era no handshake and no session are needed. */
export interface Caller {
  /** Throws where the answer is an error other than −32001, "authorization required". */
  call(method: string, params?: Record<string, unknown>): Promise<Called>;
}

/** A caller that speaks `revision`; `key` is the API key of Patchbay. */
export function createCaller(endpoint: string, key: string, revision: string): Caller {
  const isModern = eraOf(revision) === 'modern';
  let lastId = 0;
  return {
    async call(method, params = {}) {
      const id = ++lastId;
      const sent = isModern ? { ...params, _meta: modernMeta(revision) } : params;
      const response = await fetch(endpoint, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${key}`,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'mcp-protocol-version': revision,
          // MCP 2026-07-28, basic/transports/streamable-http: what the body says is repeated for those on the way.
          ...(isModern && { 'mcp-method': method }),
          ...(isModern && typeof params.name === 'string' && { 'mcp-name': params.name }),
        },
        body: JSON.stringify({ jsonrpc: '2.0', id, method, params: sent }),
      });
      const answer = readMessages(response.headers.get('content-type'), await response.text()).find(
        (message) => message.id === id,
      );
      if (answer?.result) return { result: answer.result };
      const url = answer?.error?.data?.authorizationUrl;
      if (answer?.error?.code === -32001 && url) return { authorizationUrl: url };
      throw new Error(`${method} was answered ${response.status}: ${JSON.stringify(answer)}`);
    },
  };
}

interface Message {
  id?: unknown;
  result?: Record<string, unknown>;
  error?: { code: number; message: string; data?: { authorizationUrl?: string } };
}

function readMessages(contentType: string | null, text: string): Message[] {
  if (!contentType?.startsWith('text/event-stream')) return [JSON.parse(text)];
  const messages: Message[] = [];
  const parser = createParser({ onEvent: ({ data }) => void messages.push(JSON.parse(data)) });
  parser.feed(text);
  return messages;
}
