import type { IncomingHttpHeaders } from 'node:http';
import type { Principal } from '../../identity/principal.ts';
import { ApiError } from '../../platform/errors.ts';
import { AnswerStream } from '../bridge/answer-stream.ts';
import type { GatewayDeps } from '../deps.ts';
import type { ReachedConnection } from '../reach.ts';
import type { Downstream } from '../relay-call.ts';
import { findLink } from './in-own-session.ts';

/** A GET or DELETE that names a session in front of an upstream that is reached over a link. */
interface Request {
  headers: IncomingHttpHeaders;
  principal: Principal;
}

/** Gives the caller what its server says outside of calls, until either goes. Throws ApiError. */
export function streamOverLink(
  deps: GatewayDeps,
  request: Request,
  reached: ReachedConnection,
  downstream: Downstream,
): void {
  const link = findLink(deps, request, reached);
  if (!deps.streams.add(reached.target.origin, downstream.response)) {
    throw new ApiError('rate_limited', {
      message: 'Too many streams of this server are open. Close one first.',
    });
  }
  link.attach(new AnswerStream(deps, downstream, 'text/event-stream'));
}

/** Ends the caller's session, and closes its stream at the upstream. Throws ApiError. */
export async function endOverLink(
  deps: GatewayDeps,
  request: Request,
  reached: ReachedConnection,
  { response, headers }: Downstream,
): Promise<void> {
  await findLink(deps, request, reached).session.close();
  response.writeHead(204, headers).end();
}
