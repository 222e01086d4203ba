import { loadSdk } from './sdk.ts';

/** What a refusal says about the login that it wants (RFC 6750 §3, RFC 9728 §5.1). */
export interface Challenge {
  resourceMetadataUrl: string | undefined;
  scope: string | undefined;
  error: string | undefined;
}

/** Reads `WWW-Authenticate`; all fields are undefined where it is missing or of another scheme. */
export async function readChallenge(header: string | undefined): Promise<Challenge> {
  const { extractWWWAuthenticateParams } = await loadSdk();
  const headers = new Headers();
  if (header !== undefined) headers.set('www-authenticate', header);
  const params = extractWWWAuthenticateParams(new Response(null, { status: 401, headers }));
  return {
    resourceMetadataUrl: params.resourceMetadataUrl?.href,
    scope: params.scope,
    error: params.error,
  };
}
