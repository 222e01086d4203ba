import type { Connection } from '../connections/connection.ts';
import type { CredentialedDeps } from '../connections/credentials.ts';
import type { Healer } from '../connections/heal.ts';
import type { Observer } from '../connections/observe.ts';
import type { Resolver } from '../connections/resolve.ts';
import type { ChangeFeed } from '../upstream/change-feed.ts';
import type { SessionLeases } from '../upstream/session-leases.ts';
import type { LiveSessions } from './bridge/live-sessions.ts';
import type { SessionMail } from './bridge/session-mail.ts';
import type { SessionWishes } from './bridge/session-wishes.ts';
import type { SuspendedCalls } from './bridge/suspended-calls.ts';
import type { CallerSessions } from './caller-sessions.ts';
import type { FreshLists } from './fresh-lists.ts';
import type { CallerLinks } from './link/caller-links.ts';
import type { ListMemory } from './list-memory.ts';
import type { Membership } from './namespace/membership.ts';
import type { OpenStreams } from './open-streams.ts';
import type { RelayDeps } from './relay.ts';
import type { ToolGuard } from './tool-guard.ts';

/** What the data plane needs, handed down from `compose.ts`. */
export interface GatewayDeps extends CredentialedDeps {
  resolver: Resolver;
  observer: Observer;
  healer: Healer;
  relay: RelayDeps;
  callerSessions: CallerSessions;
  streams: OpenStreams;
  /** Sessions of callers in front of servers that are reached over a link. */
  callerLinks: CallerLinks;
  listMemory: ListMemory;
  freshLists: FreshLists;
  toolGuard: ToolGuard;
  /** When the connections of a namespace change. */
  membership: Membership;
  /** The bridge: sessions on loan, what upstreams say of their changes, calls that wait for their users,
   * and what is under way and wished for in sessions of legacy callers. */
  leases: SessionLeases;
  feed: ChangeFeed;
  suspended: SuspendedCalls;
  live: LiveSessions;
  mail: SessionMail;
  wishes: SessionWishes;
  /** Where the user of a connection does what it waits for: a capability of its own, made anew each time. */
  setupUrl: (connection: Connection) => string;
}
