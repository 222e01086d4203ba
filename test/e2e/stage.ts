import type { Browser, BrowserContextOptions } from 'playwright-core';
import { expect } from 'vitest';
import { type Clock, systemClock } from '../../src/platform/clock.ts';
import { type Visitor, visit } from '../fixtures/chromium.ts';
import { put } from '../fixtures/fault.ts';
import { startAuthorizationServer } from '../fixtures/oauth/authorization-server.ts';
import { startGuardedMcpServer } from '../fixtures/oauth/guarded-mcp-server.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { startAskingServer } from './asking-server.ts';

/** A Patchbay at http://localhost, and everything that a setup in a browser meets: all else is at 127.0.0.1. */
export interface Stage {
  pb: TestPatchbay;
  /** The issuer of `guarded` and `both`, with a page to allow or decline. */
  provider: Awaited<ReturnType<typeof startAuthorizationServer>>;
  /** A server that wants a login. */
  guarded: Awaited<ReturnType<typeof startGuardedMcpServer>>;
  /** A server that wants a key and a region. */
  asking: Awaited<ReturnType<typeof startAskingServer>>;
  /** A server that wants both. */
  both: Awaited<ReturnType<typeof startAskingServer>>;
  /** Moves Patchbay's clock ahead. */
  wait(ms: number): void;
  /** Creates a connection in `default` and returns its setup link. */
  connect(id: string, server: { url: string }): Promise<string>;
  /** A fresh setup link for a connection in any state. */
  renew(id: string): Promise<string>;
  /** Somebody with a browser of their own. */
  visitor(options?: BrowserContextOptions): Promise<Visitor>;
  /** Stops all; fails if a page of Patchbay gave a browser cause for complaint. */
  end(): Promise<void>;
}

/**
 * Sets the stage. Patchbay and the provider are different sites to a browser (localhost and 127.0.0.1), as they are in
 * the world: cookies and referrers of the one do not reach the other unless we let them.
 */
export async function setTheStage(browser: Browser): Promise<Stage> {
  let aheadMs = 0;
  const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs };
  const provider = await startAuthorizationServer();
  const guarded = await startGuardedMcpServer({
    authorizationServer: provider,
    era: 'both',
    protectedResource: { scopes_supported: ['read', 'write'] },
  });
  const asking = await startAskingServer();
  const both = await startAskingServer(provider);
  const pb = await startPatchbay({ clock, env: { PATCHBAY_HOST: 'localhost' } });
  const visitors: Visitor[] = [];

  return {
    pb,
    provider,
    guarded,
    asking,
    both,
    wait: (ms) => {
      aheadMs += ms;
    },
    connect: async (id, { url }) => {
      const { status, json } = await put(pb, id, { mcpUrl: url });
      expect(status).toBe(201);
      return (json.status as { setupUrl: string }).setupUrl;
    },
    renew: async (id) => {
      const answer = await pb.request(`/default/${id}/.setup`, { method: 'POST' });
      return ((await answer.json()) as { setupUrl: string }).setupUrl;
    },
    visitor: async (options) => {
      const visitor = await visit(browser, options);
      visitors.push(visitor);
      return visitor;
    },
    end: async () => {
      const complaints = visitors.flatMap((visitor) => visitor.complaints(pb.url));
      await Promise.all(visitors.map(({ context }) => context.close()));
      await pb.stop();
      await Promise.all([provider.close(), guarded.close(), asking.stop(), both.stop()]);
      expect(complaints).toEqual([]);
    },
  };
}
