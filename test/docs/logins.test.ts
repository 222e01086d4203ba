import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type FaultyAuthorizationServer,
  startFaultyAuthorizationServer,
} from '../fixtures/oauth/faulty-authorization-server.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

const page = readFileSync(new URL('../../docs/logins.md', import.meta.url), 'utf8');
const commands = [...page.matchAll(/<!-- run -->\n```bash\n(.*?)```/gs)].map((match) => match[1] as string);

let pb: TestPatchbay;
let calendar: FaultyAuthorizationServer;
let weather: Upstream;

beforeAll(async () => {
  pb = await startPatchbay();
  calendar = await startFaultyAuthorizationServer();
  weather = await startUpstream(legacyServer().handler);
});
afterAll(async () => {
  await pb?.stop();
  await calendar?.close();
  await weather?.stop();
});

test('the commands of the page on logins work as they are written', async () => {
  const outputs: string[] = [];
  for (const command of commands) {
    // The servers are examples; everything else is what a reader types.
    const script = command
      .replaceAll('https://mcp.example.com/mcp', calendar.mcpUrl)
      .replaceAll('https://weather.example.com/mcp', weather.url);
    const env = { PATH: process.env.PATH, PATCHBAY: pb.url, KEY: pb.key };
    const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { env });
    outputs.push(stdout);
  }
  const answers = outputs.map((output) => JSON.parse(output));
  const setupUrl = expect.stringContaining(`${pb.url}/default/calendar-ada/setup?ticket=`);
  const status = { state: 'auth_required', setupUrl, authorizationUrl: setupUrl };
  expect(answers).toMatchObject([
    { connectionId: 'calendar-ada', status },
    { connectionId: 'calendar-ada', status },
    { returnUrls: ['https://app.example.com/integrations'] },
    { connectionId: 'weather-ada', status: { state: 'connected' } },
    { setupUrl },
  ]);
  expect(weather.received.every(({ headers }) => headers['x-api-key'] === 'the key')).toBe(true);
});
