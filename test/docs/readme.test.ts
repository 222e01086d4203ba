import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { type RealServer, startEverything } from '../fixtures/real-servers.ts';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const tour = [...readme.matchAll(/<!-- tour -->\n```bash\n(.*?)```/gs)].map((match) => match[1] as string);

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
  expect(tour.length).toBeGreaterThan(3);
  const outputs: string[] = [];
  for (const block of tour) {
    // The port is the only thing that a reader's machine has and this one may not.
    const script = block.replaceAll('http://127.0.0.1:3001', new URL(everything.url).origin);
    const env = { PATH: process.env.PATH, PATCHBAY: pb.url, KEY: pb.key };
    const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { env });
    outputs.push(stdout);
  }
  expect(outputs[0]).toContain('"state":"connected"');
  expect(outputs[1]).toContain('Echo: Hello from Patchbay');
  expect(outputs[2]).toContain('The sum of 19 and 23 is 42.');
  expect(outputs[3]).toContain('upstream answered 404 at /nowhere');
  expect(outputs[3]).toContain('{"success":true}');
  expect(outputs.join('')).not.toContain('never shown again');
});
