import type { IncomingHttpHeaders } from 'node:http';
import { type Handler, sendJson } from '../fixtures/upstream.ts';

type Params = Record<string, unknown>;

interface Asked {
  method: string;
  params: Params;
  headers: IncomingHttpHeaders;
}

/** What each method is answered with, as the members of a response; a method without an answer hangs in an open stream. */
export type Answers = Record<string, (asked: Asked) => { result?: unknown; error?: unknown } | undefined>;

export interface ScriptedModern {
  handler: Handler;
  /** What it was asked so far, but for `server/discover`. */
  asked: Asked[];
  /** How many streams are open. */
  open: () => number;
}

/** A modern server, called `scripted`, that answers each method as it is told. */
export function scriptedModern(answers: Answers): ScriptedModern {
  const asked: Asked[] = [];
  let open = 0;
  const discovered = {
    supportedVersions: ['2026-07-28'],
    capabilities: { tools: {}, logging: {}, resources: { subscribe: true } },
    instructions: 'Be kind.',
    _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'scripted', version: '3' } },
  };
  const handler: Handler = ({ message, headers }, response) => {
    const { id, method, params } = (message ?? {}) as { id: unknown; method: string; params: Params };
    if (method === 'server/discover') return reply({ result: discovered });
    if (method === 'initialize' || method === undefined) {
      const error = { code: -32602, message: 'modern' };
      return sendJson(response, 400, { jsonrpc: '2.0', id: null, error });
    }
    const one = { method, params, headers };
    asked.push(one);
    const answer = answers[method]?.(one);
    if (answer) return reply(answer);
    open++;
    response.once('close', () => open--);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();

    function reply(body: object): void {
      sendJson(response, 200, { jsonrpc: '2.0', id, ...body });
    }
  };
  return { handler, asked, open: () => open };
}
