import MiniSearch from 'minisearch';
import type { Tool } from '../../../mcp/lists.ts';
import type { Limits } from '../../../platform/limits.ts';
import type { ListedItem } from '../list-items.ts';

/** Documents that are indexed before other work gets its turn. */
const chunkSize = 100;

/**
 * The tools that match any word of `query`, the best first, as pairs of name and tool. What is in a name counts most,
 * then the title. A word may be the beginning of another, or spelled a little wrong.
 */
export async function rankTools(
  tools: ReadonlyMap<string, ListedItem<'tools'>>,
  query: string,
  limits: Limits,
): Promise<[name: string, tool: ListedItem<'tools'>][]> {
  const entries = [...tools];
  const index = new MiniSearch({
    fields: ['name', 'title', 'description'],
    tokenize: words,
    searchOptions: {
      boost: { name: 3, title: 2 },
      prefix: (word) => word.length >= 3,
      fuzzy: (word) => (word.length >= 5 ? 0.2 : false),
    },
  });
  const documents = entries.map(([, { connectionId, own, definition }], id) => ({
    id,
    name: `${connectionId} ${own}`.slice(0, limits.toolSearchReadChars),
    title: titleOf(definition).slice(0, limits.toolSearchReadChars),
    description: textOf(definition.description).slice(0, limits.toolSearchReadChars),
  }));
  await index.addAllAsync(documents, { chunkSize });
  return index.search(query).flatMap(({ id }) => {
    const entry = entries[id as number];
    return entry ? [entry] : [];
  });
}

/** The title that a tool shows people; in older revisions it is among the annotations. */
export function titleOf({ title, annotations }: Tool): string {
  return textOf(title) || textOf((annotations as { title?: unknown } | null | undefined)?.title);
}

/** Servers may put anything there. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** `searchIssues` and `search_issues` are two words each. */
function words(text: string): string[] {
  return text
    .replace(/([\p{Ll}\p{N}])(\p{Lu})/gu, '$1 $2')
    .split(/[^\p{L}\p{M}\p{N}]+/u)
    .filter((word) => word !== '');
}
