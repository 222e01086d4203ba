import type { Revision } from '../official-suite.ts';
import type { Upstream } from './cell.ts';

/** A check that cannot pass through Patchbay across eras, because of what the protocol itself says. */
export interface ExpectedFailure {
  revision: Revision;
  upstream: Upstream;
  scenario: string;
  /** The id of the check. */
  check: string;
  /** How many checks of that id do not pass; 1 if not said. */
  times?: number;
  /** The sentence of the specification that makes it impossible. */
  because: string;
  /** Where that sentence stands. */
  source: string;
}

/** One that passes although it is listed here is a failure too: the list must stay true. */
export const expectedFailures: readonly ExpectedFailure[] = [];
