/**
 * The OAuth functions of the MCP SDK. Loaded at the first use: most of what comes with them is not for us, and a
 * server whose connections need no login should not pay for it in memory and start time.
 */
export const loadSdk = () => import('@modelcontextprotocol/client');
