import type { UpstreamMessage } from '../../upstream/legacy-session.ts';
import type { GatewayDeps } from '../deps.ts';
import { visibleConnections } from '../visible-connections.ts';
import type { NamespaceCaller } from './reach-visible.ts';

/** What a client can be told of: which lists, in the words of `subscriptions/listen` (MCP 2026-07-28, basic/patterns/subscriptions). */
export const changeFilters = {
  toolsListChanged: 'notifications/tools/list_changed',
  promptsListChanged: 'notifications/prompts/list_changed',
  resourcesListChanged: 'notifications/resources/list_changed',
} as const;

/**
 * Calls `tell` with the method of a notification whenever a list of the namespace changes: all of them when a connection
 * comes, goes, gets another target, or becomes connected or not; one when a server says in this process that its own
 * did. What changes in the same breath, or while `tell` has not resolved, is told once. Resolves once it listens, with a
 * promise that resolves when it ended: with the caller, or because the namespace itself has changed, so that the caller is
 * to ask again. Throws what the store throws.
 */
export async function watchLists(
  deps: GatewayDeps,
  caller: NamespaceCaller,
  tell: (method: string) => Promise<void>,
): Promise<{ ended: Promise<void> }> {
  const methods: readonly string[] = Object.values(changeFilters);
  const feeds = new Map<string, () => void>();
  const changed = new Set<string>();
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  let known: string | undefined;
  let isDue = false;
  let isLooking = false;
  let isOver = false;
  let cancelLook = () => {};

  const hear = ({ method }: UpstreamMessage) => {
    if (!methods.includes(method)) return;
    changed.add(method);
    lookSoon();
  };

  async function look(): Promise<void> {
    isDue = false;
    const connections = await visibleConnections(deps, caller);
    if (isOver) return;
    const uids = new Set(connections.map(({ uid }) => uid));
    for (const [uid, stop] of feeds) {
      if (uids.has(uid)) continue;
      stop();
      feeds.delete(uid);
    }
    for (const uid of uids) if (!feeds.has(uid)) feeds.set(uid, deps.feed.listen(uid, hear));
    const now = JSON.stringify(
      connections.map(({ uid, targetVersion, status }) => [uid, targetVersion, status.state === 'connected']),
    );
    if (known !== undefined && known !== now) for (const method of methods) changed.add(method);
    known = now;
    for (const method of changed) {
      changed.delete(method);
      await tell(method);
    }
  }

  function lookSoon(): void {
    isDue = true;
    if (isLooking || isOver) return;
    isLooking = true;
    cancelLook = deps.clock.after(deps.limits.listChangePauseMs, () => {
      look()
        .catch((error: unknown) => {
          deps.log.error({ err: error }, 'the connections of a namespace could not be read');
          end();
        })
        .finally(() => {
          isLooking = false;
          if (isDue) lookSoon();
        });
    });
  }

  const unlisten = deps.membership.listen(caller.namespace, { changed: lookSoon, ended: end });

  function end(): void {
    isOver = true;
    unlisten();
    cancelLook();
    for (const stop of feeds.values()) stop();
    feeds.clear();
    resolve();
  }

  caller.signal.addEventListener('abort', end, { once: true });
  if (caller.signal.aborted) end();
  try {
    await look();
  } catch (error) {
    end();
    throw error;
  }
  return { ended };
}
