import { LRUCache } from 'lru-cache';
import type { Limits } from '../platform/limits.ts';
import type { Target } from '../upstream/target.ts';

/** A tool as its server describes it: MCP Tool, passed on as it is. */
export type Tool = { name: string } & Record<string, unknown>;

/** The last tool list of each upstream, so that a call by name need not list first. */
export interface ToolMemory {
  get(target: Target): readonly Tool[] | undefined;
  set(target: Target, tools: readonly Tool[]): void;
}

/**
 * An empty memory, of this process alone. Lists are kept per connection and version of its target, so a change of
 * URL or headers forgets them; at most `toolCacheEntries` of them, each for `toolCacheMs`.
 */
export function createToolMemory(limits: Limits): ToolMemory {
  const lists = new LRUCache<string, readonly Tool[]>({
    max: limits.toolCacheEntries,
    ttl: limits.toolCacheMs,
  });
  const key = (target: Target) => `${target.uid}:${target.version}`;
  return {
    get: (target) => lists.get(key(target)),
    set: (target, tools) => lists.set(key(target), tools),
  };
}
