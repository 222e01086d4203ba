import type { Dispatcher } from 'undici';

/** Where calls go. */
export interface Endpoint {
  dispatcher: Dispatcher;
  origin: string;
  path: string;
  headers: Record<string, string>;
}

/** What came of a call that lasts. */
export interface LongCall {
  progress: number;
  answered: boolean;
}

/** Calls the tool that reports progress each second for `seconds`, and counts what comes. Never rejects. */
export async function longCall(endpoint: Endpoint, seconds: number): Promise<LongCall> {
  const outcome: LongCall = { progress: 0, answered: false };
  try {
    const { body } = await send(endpoint, 'long', { seconds });
    let rest = '';
    for await (const chunk of body as AsyncIterable<Buffer>) {
      const events = (rest + chunk.toString('utf8')).split('\n\n');
      rest = events.pop() ?? '';
      for (const event of events) {
        if (event.includes('"notifications/progress"')) outcome.progress++;
        if (event.includes('"text":"done"')) outcome.answered = true;
      }
    }
  } catch (error) {
    console.error(`a long call broke: ${error}`);
  }
  return outcome;
}

/** Calls the quick tool on `connections` connections, one call after the other on each, until `endAt`. Never rejects. */
export async function quickCalls(
  endpoint: Endpoint,
  connections: number,
  endAt: number,
): Promise<{ calls: number; errors: number; firstError: string | undefined }> {
  const counts: { calls: number; errors: number; firstError: string | undefined } = {
    calls: 0,
    errors: 0,
    firstError: undefined,
  };
  const callOn = async () => {
    while (Date.now() < endAt) {
      counts.calls++;
      try {
        const { statusCode, body } = await send(endpoint, 'quick', {});
        const text = await body.text();
        if (statusCode !== 200 || !text.includes('"text":"done"')) throw new Error(`${statusCode} ${text}`);
      } catch (error) {
        counts.errors++;
        counts.firstError ??= String(error);
      }
    }
  };
  await Promise.all(Array.from({ length: connections }, callOn));
  return counts;
}

const revision = '2026-07-28';

function send(
  { dispatcher, origin, path, headers }: Endpoint,
  name: string,
  args: Record<string, unknown>,
): Promise<Dispatcher.ResponseData> {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': revision,
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const params = { name, arguments: args, _meta };
  return dispatcher.request({
    origin,
    path,
    method: 'POST',
    headers: {
      ...headers,
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': revision,
      'mcp-method': 'tools/call',
      'mcp-name': name,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }),
  });
}
