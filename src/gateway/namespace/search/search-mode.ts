import { z } from 'zod';
import { cleanText } from '../../../connections/inputs/field-text.ts';
import type { RpcAnswer } from '../../../mcp/answer.ts';
import type { Limits } from '../../../platform/limits.ts';
import type { GatewayDeps } from '../../deps.ts';
import { listRequest } from '../../rpc-request.ts';
import { callNamespaceTool, type NamespaceCall } from '../call-tool.ts';
import { findByName, unknownName } from '../find-item.ts';
import { type ListedItem, listNamespace, missingMeta } from '../list-items.ts';
import type { NamespaceCaller } from '../reach-visible.ts';
import { rankTools, titleOf } from './rank-tools.ts';

/** How a model works with the three tools: `instructions` of the server. */
export const searchInstructions =
  'The tools of this server are found by search. Find one with search_tools, read its input schema with describe_tool, and run it with call_tool.';

/** The three tools that stand for all others, as `tools/list` gives them. */
export function searchToolDefinitions(limits: Limits): Record<string, unknown>[] {
  const inputs = inputsOf(limits);
  return [
    {
      name: 'search_tools',
      title: 'Search tools',
      description:
        'Finds tools of all connected servers by words of their name, title and description, the best first. Gives their names, to be used with describe_tool and call_tool.',
      inputSchema: z.toJSONSchema(inputs.search_tools, { io: 'input' }),
      outputSchema: z.toJSONSchema(foundSchema),
      annotations: { readOnlyHint: true },
    },
    {
      name: 'describe_tool',
      title: 'Describe a tool',
      description: 'Gives the whole definition of one tool, its input schema above all.',
      inputSchema: z.toJSONSchema(inputs.describe_tool),
      outputSchema: z.toJSONSchema(describedSchema),
      annotations: { readOnlyHint: true },
    },
    {
      name: 'call_tool',
      title: 'Call a tool',
      description: 'Calls one tool with arguments that fit its input schema, and gives its result.',
      inputSchema: z.toJSONSchema(inputs.call_tool),
    },
  ];
}

/**
 * Calls one of the three. Wrong arguments are a result with `isError`, which the model can read and do better (MCP
 * 2025-11-25, server/tools); what concerns the tool that they name is answered, and thrown, as for a call of that tool.
 */
export async function callSearchTool(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  call: NamespaceCall,
): Promise<RpcAnswer> {
  const { args } = call;
  const inputs = inputsOf(deps.limits);
  switch (call.name) {
    case 'search_tools': {
      const read = inputs.search_tools.safeParse(args);
      return read.success ? searchTools(deps, caller, read.data) : wrongArguments(read.error);
    }
    case 'describe_tool': {
      const read = inputs.describe_tool.safeParse(args);
      return read.success ? describeTool(deps, caller, read.data.name) : wrongArguments(read.error);
    }
    case 'call_tool': {
      const read = inputs.call_tool.safeParse(args);
      if (!read.success) return wrongArguments(read.error);
      return callNamespaceTool(deps, caller, {
        ...call,
        name: read.data.name,
        args: read.data.arguments ?? {},
      });
    }
    default:
      return unknownName('tools', call.name);
  }
}

function inputsOf(limits: Limits) {
  const name = z.string().describe('The name of the tool, as search_tools gives it');
  return {
    search_tools: z.strictObject({
      query: z
        .string()
        .min(1)
        .max(limits.toolSearchQueryChars)
        .describe('What the tool should do, in a few words'),
      limit: z
        .int()
        .min(1)
        .max(limits.toolSearchResultsMax)
        .default(limits.toolSearchResults)
        .describe('How many tools to give at most'),
    }),
    describe_tool: z.strictObject({ name }),
    call_tool: z.strictObject({
      name,
      arguments: z.looseObject({}).optional().describe('The arguments, by the input schema of the tool'),
    }),
  };
}

const foundSchema = z.object({
  tools: z.array(
    z.object({
      name: z.string(),
      connectionId: z.string(),
      title: z.string().optional(),
      description: z.string().optional(),
    }),
  ),
  total: z.int().describe('How many tools match, those beyond the limit included'),
});

const describedSchema = z.object({ tool: z.looseObject({ name: z.string() }) });

async function searchTools(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  { query, limit }: { query: string; limit: number },
): Promise<RpcAnswer> {
  const { items, ...missing } = await listNamespace(deps, listing(caller), 'tools');
  const ranked = await rankTools(items, query, deps.limits);
  const shown = ranked.slice(0, limit).map(([name, tool]) => brief(name, tool, deps.limits));
  return structured({ tools: shown, total: ranked.length }, missingMeta(missing));
}

function brief(
  name: string,
  { connectionId, definition }: ListedItem<'tools'>,
  { toolSearchShownChars: maxChars, toolSearchReadChars }: Limits,
): z.infer<typeof foundSchema>['tools'][number] {
  const short = (value: unknown) =>
    cleanText(typeof value === 'string' ? value.slice(0, toolSearchReadChars) : undefined, maxChars);
  const title = short(titleOf(definition));
  const description = short(definition.description);
  return { name, connectionId, ...(title ? { title } : {}), ...(description ? { description } : {}) };
}

async function describeTool(deps: GatewayDeps, caller: NamespaceCaller, name: string): Promise<RpcAnswer> {
  const found = await findByName(deps, listing(caller), 'tools', name);
  if (found.kind === 'error') return found;
  return structured({ tool: { ...found.listed.definition, name } });
}

/** Who is shown what tools there are must be permitted to list them. */
function listing(caller: NamespaceCaller): NamespaceCaller {
  return { ...caller, request: listRequest('tools') };
}

/** Also as text, for clients that do not read what is structured (MCP 2025-11-25, server/tools). */
function structured(value: Record<string, unknown>, meta: Record<string, unknown> = {}): RpcAnswer {
  const content = [{ type: 'text', text: JSON.stringify(value) }];
  return { kind: 'result', result: { content, structuredContent: value, ...meta } };
}

function wrongArguments({ issues }: z.ZodError): RpcAnswer {
  const [first] = issues;
  const field = first?.path.join('.') || 'arguments';
  const text = `${field}: ${first?.message}.`.slice(0, 500);
  return { kind: 'result', result: { content: [{ type: 'text', text }], isError: true } };
}
