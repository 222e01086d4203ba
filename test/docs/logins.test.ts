import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type FaultyAuthorizationServer,
  startFaultyAuthorizationServer,
} from '../fixtures/oauth/faulty-authorization-server.ts';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { runPage } from '../fixtures/run-page.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

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
  // The servers are examples; everything else is what a reader types.
  const printed = await runPage(pb, 'docs/logins.md', 'run', (command) =>
    command
      .replaceAll('https://mcp.example.com/mcp', calendar.mcpUrl)
      .replaceAll('https://weather.example.com/mcp', weather.url),
  );
  const setupUrl = expect.stringContaining(`${pb.url}/default/calendar-ada/setup?ticket=`);
  const status = { state: 'auth_required', setupUrl, authorizationUrl: setupUrl };
  expect(printed.map((text) => JSON.parse(text))).toMatchObject([
    { connectionId: 'calendar-ada', status },
    { connectionId: 'calendar-ada', status },
    { returnUrls: ['https://app.example.com/integrations'] },
    { connectionId: 'weather-ada', status: { state: 'connected' } },
    { setupUrl },
  ]);
  expect(weather.received.every(({ headers }) => headers['x-api-key'] === 'the key')).toBe(true);
});
