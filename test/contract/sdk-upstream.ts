import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';

/**
 * A server made with the MCP SDK's second edition: of the modern era, and of the legacy one unless refused. It has two
 * tools, and what `addMore` adds.
 */
export async function startSdkUpstream(
  legacy: 'stateless' | 'reject',
  addMore: (mcp: McpServer) => void = () => {},
): Promise<{ url: string; stop: () => Promise<void> }> {
  const handler = createMcpHandler(
    () => {
      const mcp = new McpServer({ name: 'sdk-upstream', version: '2.1.0', title: 'Made with the SDK' });
      mcp.registerTool(
        'add',
        { description: 'Adds', inputSchema: z.object({ a: z.number(), b: z.number() }) },
        async ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }] }),
      );
      mcp.registerTool('fail', { inputSchema: z.object({}) }, async () => ({
        content: [{ type: 'text', text: 'it failed' }],
        isError: true,
      }));
      addMore(mcp);
      return mcp;
    },
    { legacy },
  );
  const handle = toNodeHandler(handler);
  const server = createServer((request, response) => {
    // The adapter's own types do not know exactOptionalPropertyTypes.
    handle(request as Parameters<typeof handle>[0], response).catch((error: Error) =>
      response.destroy(error),
    );
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    stop: async () => {
      await handler.close();
      const closed = new Promise((resolve) => {
        server.close(resolve);
      });
      server.closeAllConnections();
      await closed;
    },
  };
}
