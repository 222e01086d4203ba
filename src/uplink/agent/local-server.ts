import type { FrameMessage } from '../frame.ts';

/** The local server cannot be started at all; the text says what to do. */
export class CannotStart extends Error {}

/** Hears a local server, from its start to its end. */
export interface ServerListener {
  message(message: FrameMessage): void;
  /** It ended, or lost its session: what it was asked is answered by nobody. `code` is that of its process, where it has one. */
  ended(reason: string, code: number | undefined): void;
  /** Something that a person may want to know. */
  warning(text: string): void;
}

/** An MCP server on this machine, over stdio or HTTP. */
export interface LocalServer {
  /** As the person gave it. */
  readonly label: string;
  /** Starts it, anew after it has ended. Throws CannotStart. */
  start(listener: ServerListener): Promise<void>;
  /** Resolves when it takes more. */
  send(message: FrameMessage): Promise<void> | undefined;
  /** Holds back what it says, while the tunnel is slow. */
  pause(): void;
  resume(): void;
  /** Ends it and all that it started. */
  stop(): Promise<void>;
}
