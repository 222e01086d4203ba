import { setTimeout as wait } from 'node:timers/promises';
import { median, rssBytes } from '../bench/measure.ts';
import type { Endpoint } from './calls.ts';

/** What sessions leave behind that their callers opened and never ended. */
export interface Abandoned {
  opened: number;
  errors: number;
  firstError: string | undefined;
  /** Memory of the gateway before them, and when it had come to rest after them. */
  beforeBytes: number;
  afterBytes: number;
}

const atOnce = 32;
const restSeconds = 5;
const restSecondsAtMost = 60;

/**
 * Opens `count` legacy sessions through the gateway with process id `pid`, 32 at a time, and ends none. As many come first,
 * unmeasured: code that is compiled by then and a heap that has grown are no leak. Waits up to a minute for memory to come back to
 * `allowedGrowth` times what it was.
 */
export async function abandonSessions(
  endpoint: Endpoint,
  pid: number,
  count: number,
  allowedGrowth: number,
): Promise<Abandoned> {
  const outcome: Abandoned = { opened: 0, errors: 0, firstError: undefined, beforeBytes: 0, afterBytes: 0 };
  await openSessions(endpoint, count, outcome);
  outcome.beforeBytes = await memoryAtRest(pid);
  outcome.opened = 0;
  await openSessions(endpoint, count, outcome);
  for (let waited = 0; waited < restSecondsAtMost; waited += restSeconds) {
    outcome.afterBytes = await memoryAtRest(pid);
    if (outcome.afterBytes <= outcome.beforeBytes * allowedGrowth) break;
  }
  return outcome;
}

async function memoryAtRest(pid: number): Promise<number> {
  const samples: number[] = [];
  for (let second = 0; second < restSeconds; second++) {
    await wait(1_000);
    samples.push(rssBytes(pid));
  }
  return median(samples);
}

async function openSessions(endpoint: Endpoint, count: number, outcome: Abandoned): Promise<void> {
  let left = count;
  const openOneByOne = async () => {
    while (left-- > 0) {
      try {
        const session = await initialize(endpoint);
        if (session === undefined) throw new Error('the answer named no session');
        outcome.opened++;
      } catch (error) {
        outcome.errors++;
        outcome.firstError ??= String(error);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, openOneByOne));
}

async function initialize({ dispatcher, origin, path, headers }: Endpoint): Promise<string | undefined> {
  const {
    statusCode,
    headers: answered,
    body,
  } = await dispatcher.request({
    origin,
    path,
    method: 'POST',
    headers: { ...headers, accept: 'application/json, text/event-stream' },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'soak', version: '1.0.0' },
      },
    }),
  });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`${statusCode} ${text}`);
  return answered['mcp-session-id'] as string | undefined;
}
