import type { AgentEnd } from '../../uplink/agent/agent.ts';

/** The exit codes of `patchbay uplink`, and what each means. */
export const exitCodes = {
  stopped: [0, 'stopped by Ctrl-C or SIGTERM'],
  refused: [1, 'Patchbay refused, or could not be reached at the start'],
  usage: [2, 'the arguments or settings cannot be used'],
  in_use: [3, 'another session is paired; --force takes over'],
  replaced: [4, 'another session took over'],
  gone: [5, 'the connection was deleted'],
  forbidden: [6, 'the API key is not valid (any more), or may not'],
  cannot_start: [7, 'the command cannot be started'],
} as const;

/** The exit code of an end: with `--no-restart` that of the command itself. */
export function exitCodeOf(end: AgentEnd): number {
  return end.kind === 'server_ended' ? (end.code ?? exitCodes.refused[0]) : exitCodes[end.kind][0];
}

/** What to do about an end, where there is something. */
export function adviceOn(kind: AgentEnd['kind']): string | undefined {
  switch (kind) {
    case 'in_use':
      return 'Use --force to take it over.';
    case 'forbidden':
      return 'Set PATCHBAY_API_KEY to a key of the organization, or a token with connections:write.';
    default:
      return undefined;
  }
}
