import type { Metadata } from '../identity/permits.ts';

/**
 * Holds writes to the connections that a caller may write: a token bound to metadata must neither reach others nor make
 * some. Both throw ApiError.
 */
export interface MetadataGuard {
  /** Asked of what is stored. */
  is(metadata: Metadata): void;
  /** Asked of what is to be stored. */
  becomes(metadata: Metadata): void;
}
