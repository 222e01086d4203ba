import { type Era, eraOf } from '../../../src/mcp/revisions.ts';
import type { Revision, ScenarioResult } from '../official-suite.ts';

/** The upstreams of the matrix, by the eras that they speak. */
export const upstreams = ['legacy', 'modern', 'dual'] as const;

export type Upstream = (typeof upstreams)[number];

/** How the suite reaches the upstream. */
export const routes = ['direct', 'patchbay'] as const;

export type Route = (typeof routes)[number];

/** One run of the suite: as a client of one revision, against one upstream, by one route. */
export interface Cell {
  revision: Revision;
  upstream: Upstream;
  route: Route;
}

export interface CellResult extends Cell {
  scenarios: ScenarioResult[];
  tookMs: number;
}

/** Whether the upstream speaks the revision itself, so that nothing is translated. */
export function isSameEra({ revision, upstream }: Pick<Cell, 'revision' | 'upstream'>): boolean {
  const era: Era = eraOf(revision);
  return upstream === 'dual' || upstream === era;
}

/** The cell in words, for progress and problems. */
export function nameOf({ revision, upstream, route }: Cell): string {
  return `${revision}, ${upstream} upstream, ${route === 'direct' ? 'direct' : 'through Patchbay'}`;
}
