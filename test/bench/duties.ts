import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** What the references know from the start, as Patchbay knows its store: handed over as the last argument. */
export interface ReferenceConfig {
  token: string;
  /** By connection id. */
  routes: Record<string, ReferenceRoute>;
  /** What a GET of a connection answers. */
  view: unknown;
}

interface ReferenceRoute {
  origin: string;
  path: string;
  /** Stored headers, injected into each upstream request. */
  headers: Record<string, string>;
}

export function readReferenceConfig(): ReferenceConfig {
  return JSON.parse(process.argv[2] ?? '') as ReferenceConfig;
}

/** The duties that the references share with Patchbay: one implementation, so that they cost the same in both. */
interface Duties {
  /** Hashes the bearer token and looks it up, comparing in constant time. */
  isAuthorized(authorization: string | undefined): boolean;
  routeOf(connectionId: string): ReferenceRoute | undefined;
  /** Parses the message; false if it is no JSON-RPC request. */
  isRequest(body: Buffer): boolean;
  /** The headers of the upstream request. */
  headersFor(route: ReferenceRoute, headers: IncomingHttpHeaders): Record<string, string>;
  /** The headers of the answer, from those of the upstream's. */
  answerHeaders(headers: IncomingHttpHeaders): Record<string, string>;
  /** Keeps a row of usage, and drops all of them each second: what is durable elsewhere ends here. */
  note(connectionId: string, status: number): void;
}

const forwarded = ['mcp-protocol-version', 'mcp-method', 'mcp-name', 'mcp-session-id'];
const returned = ['content-type', 'content-length', 'mcp-session-id'];

export function createDuties({ token, routes }: ReferenceConfig): Duties {
  const digest = hash('sha256', token, 'base64url');
  const keys = new Map([[digest, Buffer.from(digest)]]);
  const known = new Map(Object.entries(routes));
  let noted: { time: number; connectionId: string; status: number }[] = [];
  let notedSince = 0;
  return {
    isAuthorized(authorization) {
      if (!authorization?.startsWith('Bearer ')) return false;
      const given = hash('sha256', authorization.slice('Bearer '.length), 'base64url');
      const stored = keys.get(given);
      return stored !== undefined && timingSafeEqual(stored, Buffer.from(given));
    },
    routeOf: (connectionId) => known.get(connectionId),
    isRequest(body) {
      const { jsonrpc, method } = JSON.parse(body.toString('utf8'));
      return jsonrpc === '2.0' && typeof method === 'string';
    },
    headersFor(route, headers) {
      const sent: Record<string, string> = {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...route.headers,
      };
      for (const name of forwarded) {
        const value = headers[name];
        if (typeof value === 'string' && sent[name] === undefined) sent[name] = value;
      }
      return sent;
    },
    answerHeaders(headers) {
      const given: Record<string, string> = {};
      for (const name of returned) {
        const value = headers[name];
        if (typeof value === 'string') given[name] = value;
      }
      return given;
    },
    note(connectionId, status) {
      const now = Date.now();
      if (now - notedSince >= 1_000) {
        noted = [];
        notedSince = now;
      }
      noted.push({ time: now, connectionId, status });
    },
  };
}

/** Tells the bench which port was taken, and ends with the bench, however that ends. */
export function reportReady(port: number): void {
  process.send?.({ port });
  process.once('disconnect', () => process.exit(0));
}
