import { canonicalHash } from './canonical-hash.ts';

/** The instructions of a server (MCP 2026-07-28, server/discover; 2025-11-25, basic/lifecycle) as it last gave them. */
export interface SeenInstructions {
  /** null where it gave none. */
  hash: string | null;
  /** As far as there is room for it. */
  text?: string;
}

/** Which instructions are accepted, and how they are otherwise now. */
export interface InstructionsPin {
  /** null where none are. */
  hash: string | null;
  /** `since` in epoch milliseconds: when they were first seen so. */
  change?: SeenInstructions & { since: number };
}

/** Reads what a server gives as its instructions; text beyond `maxChars` is not kept. */
export function readInstructions(given: unknown, maxChars: number): SeenInstructions {
  if (typeof given !== 'string' || given === '') return { hash: null };
  return { hash: canonicalHash(given), ...(given.length <= maxChars && { text: given.toWellFormed() }) };
}

/**
 * The pin once `seen` was held against it: the first that is seen is pinned as it is, and a change that was known keeps its
 * time. `seen` is undefined where nobody has asked the server yet.
 */
export function holdInstructions(
  pin: InstructionsPin | undefined,
  seen: SeenInstructions | undefined,
  now: number,
): InstructionsPin | undefined {
  if (!seen) return pin;
  if (!pin) return { hash: seen.hash };
  if (pin.hash === seen.hash) return { hash: pin.hash };
  if (pin.change?.hash === seen.hash) return pin;
  return { hash: pin.hash, change: { ...seen, since: now } };
}
