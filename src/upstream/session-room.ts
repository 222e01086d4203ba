import { ApiError } from '../platform/errors.ts';
import { UpstreamFault } from './fault.ts';
import type { Target } from './target.ts';

/** An open session, as far as it takes up room. */
export interface Occupant {
  target: Target;
  /** Calls and streams under way in it: while there are any, it is not idle. */
  users: number;
  /** When the last of them ended, on the clock of `elapsed()`. */
  usedAt: number;
}

interface Room<S extends Occupant> {
  open: Iterable<S>;
  /** Those that are being opened. */
  openings: readonly { target: Target }[];
  /** How many there may be: in all, and with one origin, whose sockets they take from the calls of all tenants. */
  most: number;
  mostPerOrigin: number;
  discard: (session: S) => void;
}

/**
 * Makes sure that one more session with `origin` may be opened: where there are as many as may be, the idle one unused the
 * longest makes way. Throws OriginFull, an UpstreamFault `busy`, if all are in use.
 */
export function makeRoom<S extends Occupant>(origin: string, room: Room<S>): void {
  const { openings, most, mostPerOrigin, discard } = room;
  const open = [...room.open];
  const isHere = ({ target }: { target: Target }) => target.origin === origin;
  const here = open.filter(isHere);
  const isFullHere = here.length + openings.filter(isHere).length >= mostPerOrigin;
  if (!isFullHere && open.length + openings.length < most) return;
  let least: S | undefined;
  for (const session of isFullHere ? here : open) {
    if (session.users === 0 && (!least || session.usedAt < least.usedAt)) least = session;
  }
  if (!least) throw new OriginFull();
  discard(least);
}

/** Every session that may be open is in use; none was opened, and nothing was sent. */
class OriginFull extends UpstreamFault {
  constructor() {
    super('busy', 'too many sessions with this upstream are in use');
  }

  override toApiError(): ApiError {
    return new ApiError('rate_limited', { message: 'Too many sessions with this upstream are in use.' });
  }
}
