import Smithery, { APIError } from '@smithery/api';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { type StartOptions, startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { type Handler, startUpstream, type Upstream } from '../fixtures/upstream.ts';
import { referenceBreach } from './reference.ts';
import { answerSchemas, jsonLines } from './schemas.ts';

/** An answer to a raw request. */
interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The body as JSON; undefined if it is none. */
  body: unknown;
}

export interface RequestOptions {
  method?: string;
  /** Becomes the body, with its content type. */
  json?: unknown;
  body?: string;
  headers?: Record<string, string>;
  /** null sends no credential; the API key unless told. */
  key?: string | null;
  signal?: AbortSignal;
}

/** A Patchbay under contract: every answer that its clients here get is held against the schemas. */
export interface Contract {
  readonly pb: TestPatchbay;
  readonly url: string;
  /** The vendor's SDK; one that does not repeat failed requests unless told. */
  sdk: (options?: { apiKey?: string; maxRetries?: number }) => Smithery;
  request: (path: string, options?: RequestOptions) => Promise<Answer>;
  /** `METHOD /path` of every request that this test sent, repeats of the SDK included. */
  sent: string[];
  /** A scripted upstream that ends with the file. */
  upstream: (handler: Handler, path?: string) => Promise<Upstream>;
}

/** Starts one Patchbay for the file; stops it and every upstream at its end. */
export function useContract(options: StartOptions = {}): Contract {
  let pb: TestPatchbay | undefined;
  const sent: string[] = [];
  const breaches: string[] = [];
  const upstreams: Upstream[] = [];

  beforeAll(async () => {
    pb = await startPatchbay(options);
  });
  beforeEach(() => {
    sent.length = 0;
  });
  // Here, because the SDK takes an error thrown in its fetch for a broken line, and tries again.
  afterEach(() => {
    expect(breaches.splice(0), 'answers that break the contract').toEqual([]);
  });
  afterAll(async () => {
    await pb?.stop();
    for (const upstream of upstreams) await upstream.stop();
  });

  const checkedFetch: typeof fetch = async (input, init) => {
    const method = init?.method?.toUpperCase() ?? 'GET';
    const { pathname } = new URL(String(input));
    sent.push(`${method} ${pathname}`);
    const response = await fetch(input, init);
    breaches.push(...(await breachesOf(method, pathname, response.clone())));
    return response;
  };

  const contract: Contract = {
    get pb() {
      if (!pb) throw new Error('Patchbay runs only inside tests and hooks');
      return pb;
    },
    get url() {
      return contract.pb.url;
    },
    sent,
    sdk: ({ apiKey = contract.pb.key, maxRetries = 0 } = {}) =>
      new Smithery({
        apiKey,
        baseURL: contract.url,
        connectBaseURL: contract.url,
        maxRetries,
        fetch: checkedFetch,
      }),
    request: async (path, { json, key = contract.pb.key, headers = {}, body, ...init } = {}) => {
      const response = await checkedFetch(`${contract.url}${path}`, {
        ...init,
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
        ...(body === undefined ? {} : { body }),
        headers: {
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      });
      const text = await response.text();
      return { status: response.status, headers: response.headers, text, body: parse(text) };
    },
    upstream: async (handler, path) => {
      const upstream = await startUpstream(handler, path);
      upstreams.push(upstream);
      return upstream;
    },
  };
  return contract;
}

/** The error that the SDK throws for `work`; fails if there is none. */
export async function refusal(
  work: PromiseLike<unknown>,
): Promise<{ status: number; body: unknown; headers: Headers; message: string }> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof APIError) || error.status === undefined) throw error;
    return {
      status: error.status,
      body: error.error,
      headers: error.headers as Headers,
      message: error.message,
    };
  }
  throw new Error('the SDK got a good answer where it should have got an error');
}

async function breachesOf(method: string, pathname: string, response: Response): Promise<string[]> {
  const route = `${method} ${templateOf(pathname)}`;
  const schemas = answerSchemas[route];
  if (!schemas) return [];
  const where = `${method} ${pathname} answered ${response.status}`;
  const text = await response.text();
  if (response.status === 202 || response.status === 204) return text === '' ? [] : [`${where} with a body`];
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) return [];
  const schema = schemas[response.status];
  if (!schema) return [`${where}, which the contract does not know: ${text.slice(0, 200)}`];
  if (schema === jsonLines) return [];
  if (!/^application\/json\b/.test(response.headers.get('content-type') ?? '')) {
    return [`${where} as ${response.headers.get('content-type')}`];
  }
  const body = parse(text);
  const checked = schema.safeParse(body);
  const own = checked.success
    ? []
    : checked.error.issues.map(
        ({ path, message }) => `${where}: ${path.join('.')} ${message}: ${text.slice(0, 300)}`,
      );
  const breach = referenceBreach(route, response.status, body);
  return breach ? [...own, `${where}, against ${breach}: ${text.slice(0, 300)}`] : own;
}

const rootPaths = ['audit', 'health', 'organizations', 'servers', 'namespaces', 'tokens'];
/** What browsers and authorization servers ask for: no answers of the API. */
const pagePaths = ['docs', 'oauth', '.well-known'];

/** The documented path that an address belongs to: the API-host form, whichever form was asked. */
function templateOf(pathname: string): string {
  const [first = '', ...rest] = pathname
    .replace(/^\/connect(?=\/)/, '')
    .slice(1)
    .split('/');
  if (pathname === '/openapi.json' || pagePaths.includes(first)) return pathname;
  if (!pathname.startsWith('/connect/') && first === 'mcp') {
    return rest.length === 1 ? '/mcp/{namespace}' : '/connect/{namespace}/{connectionId}/mcp';
  }
  if (!pathname.startsWith('/connect/') && rootPaths.includes(first)) {
    const [name, below, ...ids] = rest;
    if (name === undefined) return `/${first}`;
    if (below === undefined) return `/${first}/{name}`;
    return [`/${first}/{namespace}`, below, ...ids.map(() => '{id}')].join('/');
  }
  const [second, third, ...more] = rest;
  if (second === undefined) return '/connect/{namespace}';
  if (second === '.tools') return '/connect/{namespace}/.tools';
  if (third === undefined) return '/connect/{namespace}/{connectionId}';
  if (third === '.tools' && more.length > 0) return '/connect/{namespace}/{connectionId}/.tools/{toolPath}';
  return `/connect/{namespace}/{connectionId}/${third}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
