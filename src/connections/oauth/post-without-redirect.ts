import type { GuardedFetch } from '../../platform/egress/guarded-fetch.ts';
import { UpstreamFault } from '../../upstream/fault.ts';

/**
 * The `fetch` for token, registration and revocation endpoints: what carries a secret goes where it was sent, or nowhere
 * (pains 35). An answer of 429 or 5xx rejects with UpstreamFault `unreachable`: it says nothing about the grant.
 */
export function postWithoutRedirect(fetch: GuardedFetch, signal: AbortSignal) {
  return async (url: string | URL, init?: RequestInit): Promise<Response> => {
    const response = await fetch(url, {
      method: init?.method ?? 'POST',
      headers: init?.headers ?? {},
      body: init?.body as string | URLSearchParams,
      signal,
    });
    if (response.status >= 300 && response.status < 400) {
      throw new UpstreamFault('unreachable', `${new URL(url).host} redirects a request that must not be`);
    }
    if (response.status >= 500 || response.status === 429) {
      throw new UpstreamFault('unreachable', `the authorization server answered ${response.status}`);
    }
    return response;
  };
}
