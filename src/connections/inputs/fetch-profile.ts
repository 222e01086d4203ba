import type { GuardedFetch } from '../../platform/egress/guarded-fetch.ts';
import type { Limits } from '../../platform/limits.ts';
import { type CredentialProfile, type InputLimits, profileFromConfigSchema } from './profile.ts';

/**
 * Asks the server of `mcpUrl` which inputs it wants: `/.well-known/mcp-config` at its origin, a JSON Schema
 * (api.md §4; design §8). No credential goes along, neither headers nor query, and redirects are followed on
 * this origin only. Bounded by `limits.mcpConfigMs` and by `signal`.
 *
 * Null: the server wants none, or none that can be asked for. Undefined: not known now (no answer, too late,
 * 5xx, 408, 429); ask again later. Never throws for what a server does.
 */
export async function fetchProfile(
  { fetch }: { fetch: GuardedFetch },
  mcpUrl: string,
  signal: AbortSignal,
  limits: InputLimits & Pick<Limits, 'mcpConfigBytes' | 'mcpConfigMs' | 'redirects'>,
): Promise<CredentialProfile | null | undefined> {
  const { origin, host } = new URL(mcpUrl);
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(limits.mcpConfigMs)]);
  const answer = await get(fetch, `${origin}/.well-known/mcp-config`, bounded, limits.redirects).catch(
    () => undefined,
  );
  if (!answer || answer.status >= 500 || answer.status === 408 || answer.status === 429) return undefined;
  if (answer.status !== 200 || answer.body.byteLength > limits.mcpConfigBytes) return null;
  return profileFromConfigSchema(parseJson(answer.body), host, limits) ?? null;
}

async function get(
  fetch: GuardedFetch,
  url: string,
  signal: AbortSignal,
  redirectsLeft: number,
): Promise<{ status: number; body: ArrayBuffer }> {
  const accept = 'application/schema+json, application/json';
  const response = await fetch(url, { headers: { accept }, signal });
  const next = redirectsLeft > 0 ? redirectUrl(response, url) : undefined;
  if (next !== undefined) return get(fetch, next, signal, redirectsLeft - 1);
  return { status: response.status, body: await response.arrayBuffer() };
}

/** Where a redirect leads on the same origin; without user name and password, which a Location may bring. */
function redirectUrl(response: Response, url: string): string | undefined {
  const location = response.headers.get('location');
  if (location === null || response.status < 300 || response.status > 399) return undefined;
  const next = URL.parse(location, url);
  return next?.origin === new URL(url).origin ? next.origin + next.pathname + next.search : undefined;
}

function parseJson(body: ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}
