import { once } from 'node:events';
import { WebSocket } from 'ws';

/** What the bench asks of this process: open so many tunnels more. */
export interface TunnelsWanted {
  origin: string;
  token: string;
  /** Of the uplinks `u{from}` to `u{to - 1}`. */
  from: number;
  to: number;
}

const serverInfo = { name: 'idle', version: '1.0.0' };

/** The other end of idle tunnels: answers initialize, and then says nothing. */
async function open({ origin, token }: TunnelsWanted, id: string): Promise<void> {
  const url = `${origin.replace(/^http/, 'ws')}/default/${id}`;
  const socket = new WebSocket(url, {
    headers: { authorization: `Bearer ${token}` },
    perMessageDeflate: false,
  });
  const initialized = new Promise<void>((resolve) => {
    socket.on('message', (data) => {
      const { id: request, method, params } = JSON.parse(String(data));
      if (method === 'notifications/initialized') resolve();
      if (method !== 'initialize') return;
      const { protocolVersion } = params;
      const result = { protocolVersion, capabilities: { tools: {} }, serverInfo };
      socket.send(JSON.stringify({ jsonrpc: '2.0', id: request, result }));
    });
  });
  await once(socket, 'open');
  await initialized;
}

process.on('message', async (wanted: TunnelsWanted) => {
  for (let n = wanted.from; n < wanted.to; n++) await open(wanted, `u${n}`);
  process.send?.('open');
});
process.once('disconnect', () => process.exit(0));
process.send?.({ port: 0 });
