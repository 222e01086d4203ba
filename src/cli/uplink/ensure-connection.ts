import { type Address, explain } from '../../uplink/agent/dial.ts';

/** What stands in the way of using the connection; `status` is that of the answer, where one came. */
export class ConnectionUnusable extends Error {
  readonly status: number | undefined;

  constructor(message: string, status: number | undefined) {
    super(message);
    this.status = status;
  }
}

/** Makes the connection if it is not there; one that is an uplink already stays as it is. Throws ConnectionUnusable. */
export async function ensureConnection(address: Address): Promise<void> {
  const response = await send(address, 'PUT', { transport: 'uplink' });
  if (response.ok) return;
  throw new ConnectionUnusable(await messageOf(response), response.status);
}

/** Deletes the connection. Throws ConnectionUnusable. */
export async function deleteConnection(address: Address): Promise<void> {
  const response = await send(address, 'DELETE');
  if (!response.ok && response.status !== 404) {
    throw new ConnectionUnusable(await messageOf(response), response.status);
  }
}

async function send({ origin, namespace, connectionId, key }: Address, method: string, body?: object) {
  const path = `/connect/${encodeURIComponent(namespace)}/${encodeURIComponent(connectionId)}`;
  try {
    return await fetch(new URL(path, origin), {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
  } catch (error) {
    throw new ConnectionUnusable(`${explain(error as Error, origin)}.`, undefined);
  }
}

async function messageOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { message, error } = JSON.parse(text) as { message?: string; error?: string };
    return message ?? error ?? text;
  } catch {
    return `${response.status}: this is no Patchbay server, or there is a proxy before it.`;
  }
}
