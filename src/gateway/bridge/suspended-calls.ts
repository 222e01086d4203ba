import { hash } from 'node:crypto';
import { randomText } from '../../platform/ids.ts';
import type { Keyring } from '../../platform/keyring.ts';
import type { Limits } from '../../platform/limits.ts';
import { seal, UnsealError, unseal } from '../../platform/vault.ts';
import type { BridgedCall } from './bridged-call.ts';

/** Whom a `requestState` is for: it is worth nothing to anyone else, on another connection, or for another request. */
export interface StateOwner {
  uid: string;
  /** As `Principal.identity`. */
  caller: string;
  method: string;
  /** Without envelope, answers and state. */
  params: Record<string, unknown> | undefined;
}

/** What a `requestState` of ours stands for. */
type OpenedState = { kind: 'suspended'; call: BridgedCall } | { kind: 'again' } | { kind: 'gone' };

/**
 * The `requestState` of modern clients in front of legacy servers (MCP 2026-07-28, basic/patterns/mrtr: integrity, and
 * bound to principal, request and time). It names a call that this process holds open, because the legacy server answers
 * on the stream that began it; or says that the request is simply to be made again.
 */
export interface SuspendedCalls {
  /** The state of a call that waits for answers. Undefined if too many wait already. */
  suspend(owner: StateOwner, call: BridgedCall): string | undefined;
  /** The state of a request that is to be made again once its user has acted. */
  again(owner: StateOwner): string;
  /** What it stands for; a call can be taken once. Undefined for one that is not the owner's, or none of ours. */
  open(owner: StateOwner, state: string): OpenedState | undefined;
  /** Ends all. */
  close(): void;
}

/** Builds them on a key of their own, derived from the master key. */
export function createSuspendedCalls(keyring: Keyring, now: () => number, limits: Limits): SuspendedCalls {
  const key = keyring.derive('mcp request states');
  const calls = new Map<string, BridgedCall>();
  const identity = ({ uid, caller, method, params }: StateOwner) => [
    'request state',
    uid,
    caller,
    hash('sha256', JSON.stringify([method, params ?? null]), 'base64url'),
  ];
  const make = (owner: StateOwner, callId: string) =>
    seal(key, 0, identity(owner), Buffer.from(`${(now() + limits.suspendedCallMs).toString(36)}.${callId}`));

  return {
    suspend(owner, call) {
      if (calls.size >= limits.suspendedCalls) return undefined;
      const id = randomText(16);
      calls.set(id, call);
      call.ended.then(() => calls.delete(id));
      return make(owner, id);
    },
    again: (owner) => make(owner, ''),
    open(owner, state) {
      let text: string;
      try {
        text = unseal(key, identity(owner), state).toString('utf8');
      } catch (error) {
        if (error instanceof UnsealError) return undefined;
        throw error;
      }
      const [expiresAt = '', id = ''] = text.split('.');
      if (Number.parseInt(expiresAt, 36) <= now()) return { kind: 'gone' };
      if (id === '') return { kind: 'again' };
      const call = calls.get(id);
      calls.delete(id);
      return call ? { kind: 'suspended', call } : { kind: 'gone' };
    },
    close() {
      for (const call of calls.values()) call.cancel();
    },
  };
}
