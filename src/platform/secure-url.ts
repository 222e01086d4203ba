/**
 * Whether what is sent to `url` cannot be read on the way: https, or http that stays on this machine (RFC 8252 §8.3;
 * MCP 2026-07-28, basic/authorization, communication security). `localhost` counts as loopback (RFC 6761 §6.3); of
 * the addresses only the usual ones, as the MCP SDK has it for token endpoints.
 */
export function isSecureUrl({ protocol, hostname }: URL): boolean {
  if (protocol !== 'http:') return protocol === 'https:';
  return /^(localhost|.+\.localhost|127\.0\.0\.1|\[::1\])$/.test(hostname);
}
