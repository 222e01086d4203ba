/**
 * The lists of an MCP server: the method that asks for one, the member of its result that holds the items, and the member
 * of an item that tells it from the others (MCP 2026-07-28, server/tools, prompts, resources).
 */
export const lists = {
  tools: { method: 'tools/list', member: 'tools', key: 'name' },
  prompts: { method: 'prompts/list', member: 'prompts', key: 'name' },
  resources: { method: 'resources/list', member: 'resources', key: 'uri' },
  resourceTemplates: { method: 'resources/templates/list', member: 'resourceTemplates', key: 'uriTemplate' },
} as const;

export type ListName = keyof typeof lists;

/** An item as its server describes it, passed on as it is. */
export type ListItem<L extends ListName> = Record<(typeof lists)[L]['key'], string> & Record<string, unknown>;

/** A tool as its server describes it. */
export type Tool = ListItem<'tools'>;
