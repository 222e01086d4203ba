import { getDefaultEnvironment } from '@modelcontextprotocol/client/stdio';

/** More of the surroundings that programs expect and that hold no secrets, beside the list of the MCP SDK. */
const alsoPassed =
  /^(LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|XDG_[A-Z_]+|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR)|DISPLAY|WAYLAND_DISPLAY)$/;

/**
 * The environment of a local server: what every program needs, and what the person names. `NAME` passes a variable on,
 * `NAME=value` sets one. All else stays here, our own key above all. Throws RangeError for a name that is not set.
 */
export function serverEnvironment(
  env: Record<string, string | undefined>,
  named: readonly string[],
): Record<string, string> {
  const passed: Record<string, string> = getDefaultEnvironment();
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && alsoPassed.test(name)) passed[name] = value;
  }
  for (const one of named) {
    const at = one.indexOf('=');
    const name = at === -1 ? one : one.slice(0, at);
    const value = at === -1 ? env[name] : one.slice(at + 1);
    if (value === undefined) throw new RangeError(`--env ${name}: there is no such variable here.`);
    passed[name] = value;
  }
  return passed;
}
