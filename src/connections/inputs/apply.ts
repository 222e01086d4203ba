import { isMoved } from './place.ts';
import type { CredentialProfile } from './profile.ts';
import { type InputValues, inputValue, withValue } from './values.ts';

/**
 * What goes upstream: each value moved from where the connection holds it (`x-from`) to where the upstream wants
 * it (`x-to`), in place of what stood there, and all at once, so that two fields may swap places. A field
 * without a value moves nothing, and headers and parameters that no field names stay as they are, byte by byte.
 * `mcpUrl` is a stored one; throws TypeError for what is no URL.
 */
export function applyInputs(
  profile: CredentialProfile | undefined,
  headers: Record<string, string>,
  mcpUrl: string,
): InputValues {
  const held: InputValues = { headers, mcpUrl };
  const moved = profile?.fields.filter(isMoved) ?? [];
  let sent = held;
  for (const { from } of moved) sent = withValue(sent, from, undefined);
  for (const field of moved) {
    const value = inputValue(field, held);
    if (value !== undefined) sent = withValue(sent, field.to, value);
  }
  return sent;
}
