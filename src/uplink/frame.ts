import { isDeeperThan } from '../mcp/json-scan.ts';

/** A JSON-RPC message as it travels in a frame. */
export type FrameMessage = Record<string, unknown>;

/** What came is no JSON-RPC message; the text says why, and is short enough for the reason of a close frame. */
export class BadFrame extends Error {}

/**
 * Reads one frame: one JSON-RPC message, in text or in binary UTF-8, without an envelope (api.md §7). Throws BadFrame for
 * anything else, batches included.
 */
export function readFrame(bytes: Buffer, maxDepth: number): FrameMessage {
  if (isDeeperThan(bytes, maxDepth)) throw new BadFrame(`nested deeper than ${maxDepth} levels`);
  let message: unknown;
  try {
    message = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new BadFrame('a frame is not JSON');
  }
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    throw new BadFrame('a frame is no JSON-RPC message');
  }
  if ((message as FrameMessage).jsonrpc !== '2.0') throw new BadFrame('a frame is no JSON-RPC 2.0 message');
  return message as FrameMessage;
}
