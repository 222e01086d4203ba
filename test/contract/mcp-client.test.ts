import { Client as ModernClient, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { createConnection } from '@smithery/api/mcp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { put } from '../fixtures/fault.ts';
import { pair } from '../fixtures/uplink-client.ts';
import { legacyServer } from '../fixtures/upstream.ts';
import { useContract } from './harness.ts';
import { startSdkUpstream } from './sdk-upstream.ts';

const contract = useContract();
const namespace = 'default';
let bothEras: Awaited<ReturnType<typeof startSdkUpstream>>;
let modernOnly: Awaited<ReturnType<typeof startSdkUpstream>>;

beforeAll(async () => {
  bothEras = await startSdkUpstream('stateless');
  modernOnly = await startSdkUpstream('reject');
});
afterAll(async () => {
  await bothEras?.stop();
  await modernOnly?.stop();
});

/** Connects the MCP SDK's client over a transport of the vendor's, for as long as `use` takes. */
async function withClient<T>(
  options: Parameters<typeof createConnection>[0],
  use: (client: Client, connectionId: string) => Promise<T>,
): Promise<T> {
  const { transport, connectionId } = await createConnection({ client: contract.sdk(), ...options });
  const client = new Client({ name: 'contract', version: '1.0.0' });
  // The SDK's transport and its interface disagree under exactOptionalPropertyTypes.
  await client.connect(transport as Transport);
  try {
    return await use(client, connectionId);
  } finally {
    await client.close();
  }
}

describe.each([{ handshake: false }, { handshake: true }])('createConnection, %o', ({ handshake }) => {
  test.each<[what: string, options: Parameters<typeof legacyServer>[0]]>([
    ['without sessions', {}],
    ['with sessions', { sessions: true }],
    ['with event streams', { sessions: true, sse: true }],
  ])('reaches a legacy upstream %s', async (_what, options) => {
    const upstream = await contract.upstream(legacyServer(options).handler);
    await withClient({ namespace, mcpUrl: upstream.url, handshake }, async (client) => {
      const { tools } = await client.listTools();
      expect(tools.map(({ name }) => name)).toEqual(['echo']);
      for (const n of [1, 2]) {
        const result = await client.callTool({ name: 'echo', arguments: { n } });
        expect(result.content).toEqual([{ type: 'text', text: JSON.stringify({ n }) }]);
      }
      await expect(client.callTool({ name: 'missing', arguments: {} })).rejects.toThrow(
        /Unknown tool: missing/,
      );
    });
  });

  test('reaches a server of both eras made with the MCP SDK', async () => {
    await withClient({ namespace, mcpUrl: bothEras.url, handshake }, async (client) => {
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['add', 'fail']);
      const sum = await client.callTool({ name: 'add', arguments: { a: 2, b: 3 } });
      expect(sum.content).toEqual([{ type: 'text', text: '5' }]);
      expect(await client.callTool({ name: 'fail', arguments: {} })).toMatchObject({ isError: true });
    });
  });

  test('reaches a server of the modern era', async () => {
    await withClient({ namespace, mcpUrl: modernOnly.url, handshake }, async (client) => {
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['add', 'fail']);
      const sum = await client.callTool({ name: 'add', arguments: { a: 2, b: 3 } });
      expect(sum.content).toEqual([{ type: 'text', text: '5' }]);
    });
  });
});

test.each([{ handshake: false }, { handshake: true }])(
  'createConnection reaches an uplink, %o',
  async (how) => {
    const connectionId = `uplink-${how.handshake}`;
    await put(contract.pb, connectionId, { transport: 'uplink' });
    const machine = await pair(contract.pb, connectionId);
    await withClient({ namespace, connectionId, ...how }, async (client) => {
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo']);
      const result = await client.callTool({ name: 'echo', arguments: { n: 1 } });
      expect(result).toMatchObject({ content: [{ text: '{"n":1}' }] });
    });
    await machine.close();
  },
);

describe('createConnection', () => {
  test('learns who the server is by a handshake, and only then', async () => {
    const upstream = await contract.upstream(legacyServer().handler);
    const options = { namespace, mcpUrl: upstream.url };
    const known = await withClient({ ...options, handshake: true }, async (client) =>
      client.getServerVersion(),
    );
    expect(known).toMatchObject({ name: 'legacy-fixture', version: '1.0.0' });
    const unknown = await withClient(options, async (client) => client.getServerVersion());
    expect(unknown).toBeUndefined();
  });

  test('takes the oldest namespace when none is named, and makes the connection there', async () => {
    const upstream = await contract.upstream(legacyServer().handler);
    await contract.sdk().namespaces.create();
    const connectionId = await withClient({ mcpUrl: upstream.url }, async (client, id) => {
      await client.listTools();
      return id;
    });
    const stored = await contract.sdk().connections.get(connectionId, { namespace: 'default' });
    expect(stored.mcpUrl).toBe(upstream.url);
  });

  test('makes the connection of a given id once, and finds it again', async () => {
    const upstream = await contract.upstream(legacyServer().handler);
    const options = { namespace, connectionId: 'named', mcpUrl: upstream.url };
    for (const sent of [['GET', 'PUT'], ['GET']]) {
      contract.sent.length = 0;
      await withClient(options, async (client) => client.listTools());
      expect(contract.sent).toEqual(sent.map((method) => `${method} /default/named`));
    }
  });

  test('throws the stored message of a connection in error', async () => {
    const upstream = await contract.upstream((_request, response) => void response.writeHead(404).end());
    await expect(
      createConnection({ client: contract.sdk(), namespace, mcpUrl: upstream.url }),
    ).rejects.toThrow('MCP connection failed: upstream answered 404 at /mcp');
  });
});

describe('the client of the MCP SDK’s second edition', () => {
  /** Connects it to the MCP endpoint of a connection made for `mcpUrl`. */
  async function withModernClient<T>(
    mcpUrl: string,
    mode: 'legacy' | 'auto' | { pin: string },
    use: (client: ModernClient) => Promise<T>,
  ): Promise<T> {
    const { connectionId } = await contract.sdk().connections.create(namespace, { mcpUrl });
    const url = new URL(`${contract.url}/connect/${namespace}/${connectionId}/mcp`);
    const client = new ModernClient({ name: 'contract', version: '1.0.0' }, { versionNegotiation: { mode } });
    const headers = { authorization: `Bearer ${contract.pb.key}` };
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
    try {
      return await use(client);
    } finally {
      await client.close();
    }
  }

  const useIt = async (client: ModernClient) => {
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(['add', 'fail']);
    const sum = await client.callTool({ name: 'add', arguments: { a: 40, b: 2 } });
    expect(sum.content).toEqual([{ type: 'text', text: '42' }]);
    await expect(client.callTool({ name: 'missing', arguments: {} })).rejects.toThrow(/missing/);
    return client.getNegotiatedProtocolVersion();
  };

  test('speaks the modern era to a modern server', async () => {
    const version = await withModernClient(modernOnly.url, { pin: '2026-07-28' }, useIt);
    expect(version).toBe('2026-07-28');
  });

  test('finds the modern era by itself, where the server has it', async () => {
    for (const { url } of [modernOnly, bothEras]) {
      expect(await withModernClient(url, 'auto', useIt)).toBe('2026-07-28');
    }
  });

  test('speaks the legacy era to a server of both', async () => {
    expect(await withModernClient(bothEras.url, 'legacy', useIt)).toBe('2025-11-25');
  });

  test('speaks the modern era to a legacy server too: the bridge translates', async () => {
    const upstream = await contract.upstream(legacyServer({ sessions: true }).handler);
    await withModernClient(upstream.url, 'auto', async (client) => {
      expect(client.getNegotiatedProtocolVersion()).toBe('2026-07-28');
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['echo']);
    });
  });
});

test('.tools speaks to a server of the modern era only, whatever the MCP endpoint’s caller can', async () => {
  const { connections } = contract.sdk();
  const made = await connections.create(namespace, { mcpUrl: modernOnly.url });
  expect(made).toMatchObject({
    status: { state: 'connected' },
    serverInfo: { name: 'sdk-upstream', version: '2.1.0', title: 'Made with the SDK' },
  });
  const { connectionId } = made;
  const { tools } = await connections.tools.list(connectionId, { namespace });
  expect(tools.map(({ name }) => name)).toEqual(['add', 'fail']);
  const call = (name: string, body: Record<string, unknown>) =>
    connections.tools.call(name, { namespace, connectionId, body });
  expect(await call('add', { a: 1, b: 2 })).toMatchObject({ content: [{ type: 'text', text: '3' }] });
  expect(await call('fail', {})).toMatchObject({ isError: true });
});
