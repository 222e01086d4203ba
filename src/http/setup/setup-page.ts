import { z } from 'zod';
import type { App, HttpDeps } from '../deps.ts';
import { takeForms } from '../pages/take-forms.ts';
import { showSetup } from './show-setup.ts';
import { submitSetup } from './submit-setup.ts';

const path = '/:namespace/:connectionId/setup';
const schema = { hide: true, params: z.object({ namespace: z.string(), connectionId: z.string() }) };
const config = { permission: 'public', checkOrigin: true } as const;

/**
 * The setup page, where a person gives a connection what it waits for: `GET` shows it and starts nothing, `POST` saves
 * what was entered, and sends the person on to log in where that is needed. The link's ticket is the permission
 * (design §8, Setup tickets).
 */
export function setupPageRoutes(app: App, deps: HttpDeps): void {
  app.register(async (scope: App) => {
    takeForms(scope, deps);
    scope.get(path, { config, schema }, (request, reply) => showSetup(deps, request, reply));
    scope.post(path, { config, schema }, (request, reply) => submitSetup(deps, request, reply));
  });
}
