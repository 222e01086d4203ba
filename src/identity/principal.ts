import { ApiError } from '../platform/errors.ts';

/** What a route may ask of its caller; `public` needs no credential. */
export type Permission =
  | 'public'
  | 'connections:read'
  | 'connections:write'
  | 'connections:execute'
  | 'namespaces:read'
  | 'namespaces:write'
  | 'servers:read';

/** Who calls. An API key acts for its organization, with every permission in it. */
export interface Principal {
  kind: 'api_key';
  keyId: string;
  tokenId: null;
  organizationId: string;
}

/** The token of an `Authorization: Bearer` header (RFC 6750 §2.1). Throws ApiError `unauthorized` without one. */
export function bearerToken(header: string | undefined): string {
  const match = header === undefined ? null : /^Bearer +([\x21-\x7e]+) *$/i.exec(header);
  if (!match) throw new ApiError('unauthorized');
  return match[1] as string;
}
