import type { ConnectionsDeps } from '../connections/deps.ts';
import type { Healer } from '../connections/heal.ts';
import type { Observer } from '../connections/observe.ts';
import type { Resolver } from '../connections/resolve.ts';
import type { RelayDeps } from './relay.ts';
import type { ToolMemory } from './tool-memory.ts';

/** What the data plane needs, handed down from `compose.ts`. */
export interface GatewayDeps extends ConnectionsDeps {
  resolver: Resolver;
  observer: Observer;
  healer: Healer;
  relay: RelayDeps;
  toolMemory: ToolMemory;
}
