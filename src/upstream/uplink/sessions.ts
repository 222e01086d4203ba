import { latestLegacyRevision } from '../../mcp/revisions.ts';
import type { Limits } from '../../platform/limits.ts';
import { withinLimit } from '../../platform/within-limit.ts';
import { plainClient } from '../initialize.ts';
import { type LegacySession, SessionLost } from '../legacy-session.ts';
import type { LinkSessions, OwnSessions } from '../link-sessions.ts';
import type { Target } from '../target.ts';
import type { UplinkBus } from './bus.ts';

/** Builds the sessions with servers behind tunnels. Nothing is opened there for them, so those for calls last as long as a call. */
export function createUplinkSessions(bus: UplinkBus, own: OwnSessions, limits: Limits): LinkSessions {
  async function within<T>(
    target: Target,
    signal: AbortSignal,
    work: (session: LegacySession) => Promise<T>,
  ): Promise<T> {
    const client = plainClient(latestLegacyRevision);
    const session = await withinLimit(limits.probeMs, [signal], (deadline) =>
      bus.open(target, client, false, deadline),
    );
    try {
      return await work(session);
    } finally {
      await session.close();
    }
  }

  return {
    own,
    request(target, request) {
      return this.use(target, request.signal, (session) => session.request(request));
    },
    async use(target, signal, work) {
      try {
        return await within(target, signal, work);
      } catch (fault) {
        if (!(fault instanceof SessionLost)) throw fault;
        return within(target, signal, work);
      }
    },
    forget: () => {},
    end: own.end,
    close: own.close,
  };
}
