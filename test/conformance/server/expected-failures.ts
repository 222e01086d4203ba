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

const legacyBeforeModern = { revision: '2025-11-25', upstream: 'modern' } as const;
const modernBeforeLegacy = { revision: '2026-07-28', upstream: 'legacy' } as const;

/** One that passes although it is listed here is a failure too: the list must stay true. */
export const expectedFailures: readonly ExpectedFailure[] = [
  {
    ...legacyBeforeModern,
    scenario: 'server-sse-multiple-streams',
    check: 'server-sse-streams-functional',
    because:
      'The check is made only of answers that come as events, and "the server MUST either return Content-Type: text/event-stream, or Content-Type: application/json": the bridge opens a stream when there is something to say before the answer.',
    source: 'MCP 2025-11-25, basic/transports, Sending Messages to the Server',
  },
  ...['server-sse-priming-event', 'server-sse-retry-field', 'server-sse-disconnect-resume'].map((check) => ({
    ...legacyBeforeModern,
    scenario: 'server-sse-polling',
    check,
    because:
      'A modern server cannot end the stream of a call and go on with it later: closing the stream cancels the request, and a client whose stream breaks issues the request again. So there is nothing to resume.',
    source: 'MCP 2026-07-28, basic/transports/streamable-http',
  })),
  ...[
    'sep-2575-server-rejects-undeclared-capability',
    // The suite cannot look at the status of a refusal that does not come.
    'sep-2575-missing-capability-http-400',
  ].map((check) => ({
    ...modernBeforeLegacy,
    scenario: 'server-stateless',
    check,
    because:
      'A legacy server has no error for a capability that its client lacks ("only use capabilities that were successfully negotiated" is all there is), so its tool fails in words of its own, and only the server knows that the call needs one.',
    source: 'MCP 2025-11-25, basic/lifecycle, Operation; server/tools, Error Handling',
  })),
  ...[
    ['input-required-result-basic-elicitation', 'sep-2322-elicitation-incomplete'],
    ['input-required-result-basic-elicitation', 'sep-2322-elicitation-complete'],
    ['input-required-result-ignore-extra-params', 'sep-2322-ignore-unexpected-params'],
  ].map(([scenario, check]) => ({
    ...modernBeforeLegacy,
    scenario: scenario as string,
    check: check as string,
    because:
      'The suite wants the key "user_name", and "keys are server-assigned identifiers": the questions of a legacy server have none.',
    source: 'MCP 2026-07-28, schema, InputRequests; 2025-11-25, client/elicitation',
  })),
];
