import { ApiError } from '../errors.ts';
import { isStorableText } from './storable-text.ts';

/** Where a row stands in a list that is ordered by a time and then by an id. */
export interface Position {
  /** Epoch milliseconds. */
  time: number;
  id: string;
}

/** The cursor of the page after the row at this position. */
export function writeCursor({ time, id }: Position): string {
  return Buffer.from(JSON.stringify([time, id])).toString('base64url');
}

/** The position again. Throws ApiError `validation_error` for a cursor that no page gave. */
export function readCursor(cursor: string): Position {
  try {
    const [time, id] = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')) as unknown[];
    if (Number.isSafeInteger(time) && typeof id === 'string' && isStorableText(id)) {
      return { time: time as number, id };
    }
  } catch {
    // Answered below, like any other cursor that is none.
  }
  throw new ApiError('validation_error', { message: 'cursor: is not one that a page gave as nextCursor.' });
}

/** All pages that `read` gives, one after the other. */
export async function* allPages<P extends { nextCursor: string | null }>(
  read: (cursor: string | undefined) => Promise<P>,
): AsyncGenerator<P> {
  let cursor: string | undefined;
  do {
    const page = await read(cursor);
    yield page;
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
}
