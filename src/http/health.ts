import { z } from 'zod';
import type { App, HttpDeps } from './deps.ts';

/** `GET /health`: 200 while the store answers. */
export function healthRoute(app: App, { store, clock, log }: HttpDeps): void {
  app.get(
    '/health',
    {
      config: { permission: 'public' },
      schema: {
        operationId: 'checkHealth',
        tags: ['health'],
        summary: 'Whether the server can work',
        security: [],
        response: {
          200: z.strictObject({ status: z.string(), timestamp: z.string() }).meta({ id: 'Health' }),
          500: z.strictObject({ error: z.string() }).meta({ id: 'HealthError' }),
        },
      },
    },
    async (_request, reply) => {
      try {
        await store.db.selectFrom('facts').select('name').limit(1).execute();
      } catch (error) {
        log.error({ err: error }, 'the store does not answer');
        return reply.code(500).send({ error: 'Service unhealthy' });
      }
      return { status: 'ok', timestamp: new Date(clock.now()).toISOString() };
    },
  );
}
