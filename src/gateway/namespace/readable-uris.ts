import type { RpcAnswer } from '../../mcp/answer.ts';
import { fieldsOf, isFields } from '../../mcp/era-messages.ts';
import { namespaceUri } from './resource-uri.ts';

type Fields = Record<string, unknown>;

/**
 * The answer of a connection's server, with the URIs of its resources as they are in the namespace: links and embedded
 * resources in content, and what `resources/read` gives. All else passes as it is.
 */
export function readableAnswer(connectionId: string, method: string, answer: RpcAnswer): RpcAnswer {
  if (answer.kind === 'error') return answer;
  const { result } = answer;
  const block = (content: unknown) => readableBlock(connectionId, content);
  switch (method) {
    case 'tools/call':
      return Array.isArray(result.content)
        ? { kind: 'result', result: { ...result, content: result.content.map(block) } }
        : answer;
    case 'prompts/get':
      return Array.isArray(result.messages)
        ? {
            kind: 'result',
            result: { ...result, messages: result.messages.map((one) => message(one, block)) },
          }
        : answer;
    case 'resources/read':
      return Array.isArray(result.contents)
        ? {
            kind: 'result',
            result: { ...result, contents: result.contents.map((one) => read(connectionId, one)) },
          }
        : answer;
    default:
      return answer;
  }
}

function message(value: unknown, block: (content: unknown) => unknown): unknown {
  const { content } = fieldsOf(value);
  if (Array.isArray(content)) return { ...fieldsOf(value), content: content.map(block) };
  return isFields(content) ? { ...fieldsOf(value), content: block(content) } : value;
}

/** What a client may fetch by itself from the web stays (MCP 2025-11-25, server/resources, common URI schemes). */
function readableBlock(connectionId: string, content: unknown): unknown {
  const { type, uri, resource } = fieldsOf(content);
  const readable = (own: string) => (/^https?:/i.test(own) ? own : namespaceUri(connectionId, own));
  if (type === 'resource_link' && typeof uri === 'string') {
    return { ...(content as Fields), uri: readable(uri) };
  }
  const embedded = fieldsOf(resource).uri;
  if (type === 'resource' && typeof embedded === 'string') {
    return { ...(content as Fields), resource: { ...(resource as Fields), uri: readable(embedded) } };
  }
  return content;
}

function read(connectionId: string, contents: unknown): unknown {
  const { uri } = fieldsOf(contents);
  return typeof uri === 'string'
    ? { ...(contents as Fields), uri: namespaceUri(connectionId, uri) }
    : contents;
}
