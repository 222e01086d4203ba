import { ApiError } from '../platform/errors.ts';
import { isStorableText } from '../platform/store/storable-text.ts';

/** 1 to 255 characters, no control characters, no leading dot: dots begin sub-resources (design §8, Ids). */
export function isConnectionId(id: string, maxChars: number): boolean {
  return id.length >= 1 && id.length <= maxChars && !id.startsWith('.') && isStorableText(id);
}

/** Throws ApiError `validation_error` for an id that no connection may have. */
export function checkConnectionId(id: string, maxChars: number): void {
  if (isConnectionId(id, maxChars)) return;
  throw new ApiError('validation_error', {
    message: `connectionId: must be 1 to ${maxChars} characters, without control characters or a leading dot.`,
  });
}
