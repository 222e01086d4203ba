/**
 * The protocol revisions, in two eras: *legacy* begins with `initialize`, *modern* is stateless
 * (MCP 2026-07-28, basic/versioning).
 */
export type Era = 'legacy' | 'modern';

export const latestLegacyRevision = '2025-11-25';
export const latestModernRevision = '2026-07-28';

/** The revision that a request without MCP-Protocol-Version has (MCP 2025-11-25, basic/transports). */
export const assumedRevision = '2025-03-26';

/** Legacy revisions that speak Streamable HTTP, newest first. */
export const legacyRevisions: readonly string[] = ['2025-11-25', '2025-06-18', '2025-03-26'];

/** What the bridge may agree on: it speaks these by itself, the oldest without its HTTP+SSE transport. */
export const negotiableRevisions: readonly string[] = [...legacyRevisions, '2024-11-05'];

/** The revisions that predate the modern era are just the dates before it, known to us or not. */
export function eraOf(revision: string): Era {
  return revision < latestModernRevision ? 'legacy' : 'modern';
}

/** Whether `text` has the form of a revision: a date. */
export function isRevision(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text);
}
