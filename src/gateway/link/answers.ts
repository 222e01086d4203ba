import type { Target } from '../../upstream/target.ts';
import type { AnswerStream } from '../bridge/answer-stream.ts';
import { CallTimer } from '../bridge/call-timer.ts';
import type { GatewayDeps } from '../deps.ts';
import type { Downstream } from '../relay-call.ts';

/** Answers a message that has no answer (MCP 2025-11-25, basic/transports: 202). */
export function accepted({ downstream: { response, headers } }: { downstream: Downstream }): void {
  if (!response.destroyed) response.writeHead(202, { ...headers, 'content-length': 0 }).end();
}

/** The time limits of the call that `stream` answers; they end with its caller, too. */
export function callTimer({ relay }: GatewayDeps, stream: AnswerStream, { timeLimits }: Target): CallTimer {
  const timer = new CallTimer(relay, timeLimits);
  const leave = () => timer.abort(new Error('the caller went away'));
  stream.left.addEventListener('abort', leave, { once: true });
  if (stream.left.aborted) leave();
  return timer;
}
