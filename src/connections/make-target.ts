import { Secret } from '../platform/secret.ts';
import { createTarget, type Target, type TimeLimits } from '../upstream/target.ts';
import { applyInputs } from './inputs/apply.ts';
import type { CredentialProfile } from './inputs/profile.ts';

/** What a connection sends to its upstream, and where. */
export interface TargetParts {
  uid: string;
  /** Of the target; see `Target`. */
  version: number;
  mcpUrl: string;
  /** The connection's own headers, opened. */
  headers: Record<string, string>;
  inputs: CredentialProfile | null;
  accessToken: string | undefined;
  timeLimits: TimeLimits;
}

/** Puts the credentials of a connection together. A token of a login wins over an Authorization header of the tenant. */
export function makeTarget(parts: TargetParts): Target {
  const { uid, version, mcpUrl, headers, inputs, accessToken, timeLimits } = parts;
  const applied = applyInputs(inputs ?? undefined, headers, mcpUrl);
  const sent = Object.entries(applied.headers).filter(
    ([name]) => accessToken === undefined || name.toLowerCase() !== 'authorization',
  );
  if (accessToken !== undefined) sent.push(['authorization', `Bearer ${accessToken}`]);
  return createTarget(uid, version, applied.mcpUrl, new Secret(sent.flat()), timeLimits);
}
