import { isLoopbackHost } from '../../http/allow-list.ts';
import { defaultLimits } from '../../platform/limits.ts';
import { type Agent, createAgent } from '../../uplink/agent/agent.ts';
import type { Address } from '../../uplink/agent/dial.ts';
import { serverEnvironment } from '../../uplink/agent/environment.ts';
import { createHttpServer } from '../../uplink/agent/http-server.ts';
import type { LocalServer } from '../../uplink/agent/local-server.ts';
import { createStdioServer } from '../../uplink/agent/stdio-server.ts';
import { type Display, jsonDisplay, liveDisplay, plainDisplay } from './display.ts';
import { ConnectionUnusable, deleteConnection, ensureConnection } from './ensure-connection.ts';
import { adviceOn, exitCodeOf, exitCodes } from './exit-codes.ts';

export interface UplinkOptions {
  url?: string;
  force?: boolean;
  rm?: boolean;
  restart: boolean;
  env?: string[];
  json?: boolean;
}

/** The arguments cannot be used; the text says how. */
class UsageError extends Error {}

/**
 * `patchbay uplink`: keeps a local MCP server paired with a connection until it is told to stop. Returns the exit code
 * (exit-codes.ts); prints its own errors.
 */
export async function uplink(
  env: NodeJS.ProcessEnv,
  connection: string,
  target: readonly string[],
  options: UplinkOptions,
): Promise<number> {
  let address: Address;
  let display: Display | undefined;
  let agent: Agent | undefined;
  let server: LocalServer;
  try {
    address = readAddress(env, connection, options.url);
    server = readServer(env, target, options.env ?? [], (chunk) => display?.serverOutput(chunk));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`patchbay: ${error.message}`);
    return exitCodes.usage[0];
  }
  const { protocol, hostname, host } = address.origin;
  if (protocol === 'http:' && !isLoopbackHost(hostname)) {
    console.error(
      `patchbay: ${host} is not reached over https: your key and all that is said can be read on the way.`,
    );
  }
  display = chooseDisplay(connection, options.json ?? false, () => agent?.tally);
  const stopping = stopSignal();
  const finish = (code: number, message: string) => {
    display.end(code, message);
    return code;
  };
  try {
    await ensureConnection(address);
    agent = createAgent({
      address,
      server,
      force: options.force ?? false,
      restart: options.restart,
      limits: defaultLimits,
      onEvent: display.show,
    });
    const end = await agent.run(stopping);
    if (options.rm && end.kind !== 'replaced' && end.kind !== 'gone') await deleteConnection(address);
    const message =
      end.kind === 'stopped' ? 'Stopped.' : [end.message, adviceOn(end.kind)].filter(Boolean).join(' ');
    return finish(exitCodeOf(end), message);
  } catch (error) {
    if (!(error instanceof ConnectionUnusable)) throw error;
    const isForbidden = error.status === 401 || error.status === 403;
    const kind = isForbidden ? 'forbidden' : 'refused';
    return finish(exitCodes[kind][0], [error.message, adviceOn(kind)].filter(Boolean).join(' '));
  }
}

function readAddress(env: NodeJS.ProcessEnv, connection: string, url: string | undefined): Address {
  const slash = connection.indexOf('/');
  if (slash < 1 || slash === connection.length - 1) {
    throw new UsageError(`"${connection}" must name a namespace and a connection: default/my-laptop.`);
  }
  const given = url ?? (env.PATCHBAY_URL || 'http://127.0.0.1:8787');
  const origin = URL.parse(given);
  if (!origin || !/^https?:$/.test(origin.protocol)) {
    throw new UsageError(`"${given}" is no address of a Patchbay server: set --url or PATCHBAY_URL.`);
  }
  if (!env.PATCHBAY_API_KEY) {
    throw new UsageError(
      'PATCHBAY_API_KEY is not set: it must be an API key or a service token of the server.',
    );
  }
  const [namespace, connectionId] = [connection.slice(0, slash), connection.slice(slash + 1)];
  return { origin, namespace, connectionId, key: env.PATCHBAY_API_KEY };
}

function readServer(
  env: NodeJS.ProcessEnv,
  target: readonly string[],
  named: readonly string[],
  onStderr: (chunk: Buffer) => void,
): LocalServer {
  const [command, ...args] = target;
  if (command === undefined) {
    throw new UsageError('What is to be paired? A command after "--", or the http:// address of a server.');
  }
  if (/^https?:\/\//i.test(command)) {
    const url = URL.parse(command);
    if (!url) throw new UsageError(`"${command}" is no URL.`);
    if (args.length > 0)
      throw new UsageError(`A server that runs already takes no arguments: ${args.join(' ')}`);
    if (named.length > 0) throw new UsageError('--env is for a command, which is started here.');
    return createHttpServer(url);
  }
  try {
    return createStdioServer({ command, args, env: serverEnvironment(env, named), onStderr }, defaultLimits);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

function chooseDisplay(connection: string, json: boolean, tally: () => Agent['tally'] | undefined): Display {
  if (json) return jsonDisplay(connection);
  const { stdout } = process;
  if (!stdout.isTTY) return plainDisplay(connection);
  const colours = stdout.hasColors() && !process.env.NO_COLOR;
  return liveDisplay(
    connection,
    stdout,
    () => tally() ?? { open: 0, answered: 0, lastMs: undefined },
    colours,
  );
}

/** Aborted by the first SIGINT, SIGTERM or SIGHUP; a second one ends the process at once. */
function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping.signal.aborted) process.exit(exitCodes.refused[0]);
      stopping.abort();
    });
  }
  return stopping.signal;
}
