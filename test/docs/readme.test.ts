import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { type RealServer, startEverything } from '../fixtures/real-servers.ts';
import { runPage } from '../fixtures/run-page.ts';

let pb: TestPatchbay;
let everything: RealServer;

beforeAll(async () => {
  pb = await startPatchbay();
  everything = await startEverything();
});
afterAll(async () => {
  await pb?.stop();
  await everything?.stop();
});

test('the five-minute tour of the README works as it is written', async () => {
  // The port is the only thing that a reader's machine has and this one may not.
  const printed = await runPage(pb, 'README.md', 'tour', (command) =>
    command.replaceAll('http://127.0.0.1:3001', new URL(everything.url).origin),
  );
  expect(printed.length).toBeGreaterThan(3);
  expect(printed[0]).toContain('"state":"connected"');
  expect(printed[1]).toContain('Echo: Hello from Patchbay');
  expect(printed[2]).toContain('The sum of 19 and 23 is 42.');
  expect(printed[3]).toContain('upstream answered 404 at /nowhere');
  expect(printed[3]).toContain('{"success":true}');
  expect(printed.join('')).not.toContain('never shown again');
});
