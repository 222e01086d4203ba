import type { Tool } from '../mcp/lists.ts';

export type ToolMatch = { kind: 'tool'; tool: Tool } | { kind: 'category'; tools: Tool[] } | undefined;

/**
 * What a path below `.tools` names. A dotted tool name may be spelled `a.b`, `a%2Fb` or `a/b` (api.md §3.1); the
 * exact name beats the other spellings, and a tool beats a category of the same name (design §8).
 */
export function matchToolPath(tools: readonly Tool[], path: string): ToolMatch {
  const exact = tools.find(({ name }) => name === path);
  if (exact) return { kind: 'tool', tool: exact };
  const wanted = slashed(path);
  const spelled = tools.find(({ name }) => slashed(name) === wanted);
  if (spelled) return { kind: 'tool', tool: spelled };
  const below = tools.filter(({ name }) => slashed(name).startsWith(`${wanted}/`));
  return below.length > 0 ? { kind: 'category', tools: below } : undefined;
}

function slashed(name: string): string {
  return name.replaceAll('.', '/');
}
