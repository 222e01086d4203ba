import { z } from 'zod';
import type { App, HttpDeps } from '../deps.ts';

/** `GET /.well-known/jwks.json`: the public keys of service tokens (RFC 7517 §5), retired ones as long as they count. */
export function jwksRoute(app: App, { signingKeys }: HttpDeps): void {
  app.get(
    '/.well-known/jwks.json',
    {
      config: { permission: 'public' },
      schema: {
        operationId: 'listSigningKeys',
        tags: ['tokens'],
        summary: 'Public keys of service tokens',
        security: [],
        response: { 200: z.strictObject({ keys: z.array(z.looseObject({ kid: z.string() })) }) },
      },
    },
    async () => ({ keys: (await signingKeys.published()) as never }),
  );
}
