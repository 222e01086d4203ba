import type { Dispatcher } from 'undici';
import type { Limits } from '../limits.ts';

type Sendable = ConstructorParameters<typeof Headers>[0];

/** What a guarded request may carry; bodies are small and known beforehand. */
export interface GuardedRequest {
  method?: string;
  headers?: Sendable;
  body?: string | URLSearchParams | null;
  signal?: AbortSignal | null;
}

/**
 * A `fetch` for documents and tokens of hosts that a tenant or an upstream names. Follows no redirect: whoever
 * follows one comes back through here. Rejects with TypeError, as `fetch` does, when no answer came: refused
 * by the egress policy, unreachable, over the time limit, or larger than the limit; `cause` is the reason.
 */
export type GuardedFetch = (url: string | URL, request?: GuardedRequest) => Promise<Response>;

const bodiless = new Set([101, 204, 205, 304]);

/**
 * Builds it on the guarded dispatcher. Answers are read whole and given as the global `Response`: libraries ask
 * `instanceof`, and undici's own Response is another class.
 */
export function createGuardedFetch(dispatcher: Dispatcher, limits: Limits): GuardedFetch {
  return async (url, { method = 'GET', headers, body, signal } = {}) => {
    const target = new URL(url);
    if (!/^https?:$/.test(target.protocol)) throw new TypeError(`refused: not an http(s) URL`);
    const timeLimit = AbortSignal.timeout(limits.fetchMs);
    try {
      const answer = await dispatcher.request({
        origin: target.origin,
        path: target.pathname + target.search,
        method: method as Dispatcher.HttpMethod,
        headers: Object.fromEntries(sentHeaders(headers, body)),
        body: body === undefined || body === null ? null : String(body),
        signal: signal ? AbortSignal.any([signal, timeLimit]) : timeLimit,
      });
      const bytes = await readAll(answer.body, limits.fetchedBytes);
      return new Response(bodiless.has(answer.statusCode) ? null : new Uint8Array(bytes), {
        status: answer.statusCode,
        headers: receivedHeaders(answer.headers),
      });
    } catch (error) {
      const cause = timeLimit.aborted ? timeLimit.reason : error;
      throw new TypeError('fetch failed', { cause });
    }
  };
}

function sentHeaders(given: Sendable | undefined, body: GuardedRequest['body']): Headers {
  const headers = new Headers(given);
  if (body instanceof URLSearchParams && !headers.has('content-type')) {
    headers.set('content-type', 'application/x-www-form-urlencoded');
  }
  return headers;
}

function receivedHeaders(given: Record<string, string | string[] | undefined>): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(given)) {
    for (const one of [value ?? []].flat()) headers.append(name, one);
  }
  return headers;
}

async function readAll(body: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`the answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
