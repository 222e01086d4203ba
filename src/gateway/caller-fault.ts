import { ApiError } from '../platform/errors.ts';

/** Statuses that a caller's own message brings about, so that the caller gets a 4xx and not our 502. */
const callerFaults = new Set([400, 406, 413, 415, 422]);

/** What a caller is told whose message the upstream refused by HTTP status; undefined for any other status. */
export function rejectionOf(status: number | undefined): ApiError | undefined {
  if (status === undefined || !callerFaults.has(status)) return undefined;
  return new ApiError('upstream_rejected', { message: `The upstream rejected the message (${status}).` });
}
