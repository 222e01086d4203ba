import type { AuditEntry } from '../../audit/entry.ts';
import { ApiError } from '../../platform/errors.ts';
import type { NamespaceCaller } from './reach-visible.ts';

/** A request for one thing of the namespace. */
export interface Asked {
  caller: NamespaceCaller;
  /** Without `_meta`, which belongs to this hop. */
  params: Record<string, unknown>;
  /** Learns which connection it is about. */
  entry: AuditEntry;
}

/** `name` of the params. Throws ApiError `validation_error`. */
export function readName({ name }: Asked['params']): string {
  if (typeof name === 'string') return name;
  throw new ApiError('validation_error', { message: 'params.name: must be a string.' });
}

/** `arguments` of the params of a tool call; none are empty ones. Throws ApiError `validation_error`. */
export function readArguments({ arguments: args }: Asked['params']): Record<string, unknown> {
  if (args === undefined) return {};
  if (typeof args === 'object' && args !== null && !Array.isArray(args)) {
    return args as Record<string, unknown>;
  }
  throw new ApiError('validation_error', { message: 'params.arguments: must be an object.' });
}
