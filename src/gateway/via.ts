import { ApiError } from '../platform/errors.ts';

const maxHops = 3;

/**
 * A connection may lead to another Patchbay, and by mistake or malice back to this one. Each hop says so in Via
 * (RFC 9110 §7.6.3), so that a loop ends after a few. Throws ApiError `upstream_failed`.
 */
export function viaHeader(received: string | undefined): readonly string[] {
  const own = '1.1 patchbay';
  if (received === undefined) return ['via', own];
  if (received.split(own).length > maxHops) {
    throw new ApiError('upstream_failed', { message: 'The connection leads back to Patchbay, in a loop.' });
  }
  return ['via', `${received}, ${own}`];
}
