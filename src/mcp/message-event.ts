/** A JSON-RPC message as an event of a stream (MCP 2025-11-25, basic/transports: Streamable HTTP). */
export function messageEvent(message: unknown): string {
  return `event: message\ndata: ${JSON.stringify(message)}\n\n`;
}
