import type { Transport } from '../exchange.ts';
import type { LegacyClient, SessionRequest } from '../legacy-session.ts';
import type { Target } from '../target.ts';
import { type EventStream, openEventStream } from './open-stream.ts';
import { SseSession } from './session.ts';

/**
 * Opens a session over HTTP+SSE for `client` (MCP 2024-11-05, basic/transports): the stream, `initialize`,
 * `notifications/initialized`. Throws UpstreamFault; ends with `deadline`, which does not bound the session itself.
 */
export async function openSseSession(
  transport: Transport,
  target: Target,
  client: LegacyClient,
  deadline: AbortSignal,
): Promise<SseSession> {
  return initializeSse(
    transport,
    target,
    await openEventStream(transport, target, deadline),
    client,
    deadline,
  );
}

/** The same over a stream that is open; closes it on failure. */
export async function initializeSse(
  transport: Transport,
  target: Target,
  stream: EventStream,
  client: LegacyClient,
  deadline: AbortSignal,
): Promise<SseSession> {
  const session = new SseSession(transport, target, stream);
  return orClose(session, async () => {
    await session.initialize(client, deadline);
    await session.sayReady(deadline);
  });
}

/**
 * Opens a session without `notifications/initialized`, which `client` is to send itself; `onMessage` listens from the
 * beginning. Throws like `openSseSession`.
 */
export async function introduceSse(
  transport: Transport,
  target: Target,
  client: LegacyClient,
  onMessage: SessionRequest['onMessage'],
  deadline: AbortSignal,
): Promise<SseSession> {
  const stream = await openEventStream(transport, target, deadline);
  const session = new SseSession(transport, target, stream);
  return orClose(session, async () => {
    await session.listen(onMessage);
    await session.initialize(client, deadline);
  });
}

async function orClose(session: SseSession, work: () => Promise<void>): Promise<SseSession> {
  try {
    await work();
    return session;
  } catch (fault) {
    await session.close();
    throw fault;
  }
}
