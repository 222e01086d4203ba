import type { App, HttpDeps } from '../deps.ts';
import { callToolRoute } from './call-tool.ts';
import { createConnectionRoute } from './create-connection.ts';
import { deleteConnectionRoute } from './delete-connection.ts';
import { getConnectionRoute } from './get-connection.ts';
import { getToolRoute } from './get-tool.ts';
import { listConnectionsRoute } from './list-connections.ts';
import { listNamespaceToolsRoute } from './list-namespace-tools.ts';
import { listToolsRoute } from './list-tools.ts';
import { connectMcpPath, mcpEndpointRoutes } from './mcp-endpoint.ts';
import { acceptPinsRoute } from './pins/accept-pins.ts';
import { getPinsRoute } from './pins/get-pins.ts';
import { renewSetupRoute } from './renew-setup.ts';
import { setConnectionRoute } from './set-connection.ts';
import { getConnectionSettingsRoute } from './settings/get-settings.ts';
import { patchConnectionSettingsRoute } from './settings/patch-settings.ts';

/** The Connect API below one prefix; the app mounts it at `/connect` and at the root (design §4). */
export function connectRoutes(app: App, deps: HttpDeps): void {
  createConnectionRoute(app, deps);
  setConnectionRoute(app, deps);
  getConnectionRoute(app, deps);
  listConnectionsRoute(app, deps);
  deleteConnectionRoute(app, deps);
  listToolsRoute(app, deps);
  getToolRoute(app, deps);
  callToolRoute(app, deps);
  listNamespaceToolsRoute(app, deps);
  renewSetupRoute(app, deps);
  getConnectionSettingsRoute(app, deps);
  patchConnectionSettingsRoute(app, deps);
  getPinsRoute(app, deps);
  acceptPinsRoute(app, deps);
  mcpEndpointRoutes(app, deps, connectMcpPath);
}
