import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { postMessage } from '../../gateway/post-message.ts';
import { namespaceRefusal } from '../../identity/permits.ts';
import { bearerToken, type Principal } from '../../identity/principal.ts';
import type { Usage } from '../../identity/quotas.ts';
import { concat } from '../../platform/concat.ts';
import { standingHeaders } from '../access.ts';
import { beginCallEntry } from '../audit-request.ts';
import type { HttpDeps } from '../deps.ts';
import { mcpConfig } from './mcp-route.ts';

/** Takes a request that it can answer, and says so; any other is the framework's. */
type FastPath = (request: IncomingMessage, response: ServerResponse) => boolean;

/** `/connect/{namespace}/{connectionId}/mcp` and `/mcp/{namespace}/{connectionId}`, with nothing in them to decode. */
const endpointPath = /^\/(?:connect\/([\w-]+)\/([\w-]+)\/mcp|mcp\/([\w-]+)\/([\w-]+))$/;

/** Without an Origin; that the answer depends on it is what a cache must know (as the CORS hook says it). */
const answerHeaders = { ...standingHeaders, vary: 'Origin' };

/**
 * The way of most calls: a POST to the MCP endpoint of a connection by a caller who is remembered, and may. A framework's
 * request, hooks and reading of the body cost it about a tenth of its CPU (docs/decisions/005-fast-path.md).
 *
 * It makes the same checks as `guardAccess`, from memory, and refuses nothing: whatever is unusual, unknown or not
 * allowed, it leaves untouched to the framework's route of the same path, which looks again and gives the answer.
 */
export function createFastPath(deps: HttpDeps, isClosing: () => boolean): FastPath {
  const { authenticator, namespaces, quotas } = deps;

  /** Undefined where the caller is not remembered, or not let in, for whatever reason. */
  function admit(
    { authorization }: IncomingHttpHeaders,
    namespace: string,
  ): { principal: Principal; usage: Usage } | undefined {
    try {
      const principal = authenticator.recall(bearerToken(authorization));
      if (!principal || !namespaces.isKnownOwner(principal, namespace)) return undefined;
      if (namespaceRefusal(principal, mcpConfig.permission, namespace)) return undefined;
      return { principal, usage: quotas.admit(principal, namespace, true) };
    } catch {
      // The framework's route meets the same error, and answers it.
      return undefined;
    }
  }

  return (request, response) => {
    const { headers } = request;
    if (request.method !== 'POST' || isClosing() || !isPlain(deps, headers)) return false;
    const match = endpointPath.exec(request.url as string);
    if (!match) return false;
    const namespace = (match[1] ?? match[3]) as string;
    const connectionId = (match[2] ?? match[4]) as string;
    const admitted = admit(headers, namespace);
    if (!admitted) return false;
    const { principal, usage } = admitted;
    const call = { principal, usage, namespace, connectionId };
    const entry = beginCallEntry(deps, headers, response, call, () => usage.end());
    readBody(request, (body) => {
      entry.bytesIn = body.length;
      postMessage(deps, { ...call, headers, body }, { response, headers: answerHeaders, entry });
    });
    return true;
  };
}

/** No browser, a known Host, and JSON whose length is known, and allowed. */
function isPlain({ allowList, limits }: HttpDeps, headers: IncomingHttpHeaders): boolean {
  return (
    headers.origin === undefined &&
    headers['content-type'] === 'application/json' &&
    // False without one, as with a body in chunks.
    Number(headers['content-length']) <= limits.mcpBodyBytes &&
    allowList.allowsHost(headers.host)
  );
}

/** A caller that goes away before the end of its body closes the response; nothing is left to be done then. */
function readBody(request: IncomingMessage, done: (body: Buffer) => void): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => done(concat(chunks)));
}
