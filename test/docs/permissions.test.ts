import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPatchbay, type TestPatchbay } from '../fixtures/patchbay.ts';
import { runPage } from '../fixtures/run-page.ts';
import { legacyServer, startUpstream, type Upstream } from '../fixtures/upstream.ts';

let pb: TestPatchbay;
let upstream: Upstream;

beforeAll(async () => {
  pb = await startPatchbay({ limits: { auditFlushMs: 10 } });
  upstream = await startUpstream(legacyServer().handler);
  for (const id of ['ada', 'bob']) {
    const json = { mcpUrl: upstream.url, metadata: { userId: id } };
    expect((await pb.request(`/default/${id}`, { method: 'PUT', json })).status).toBe(201);
  }
});
afterAll(async () => {
  await pb?.stop();
  await upstream?.stop();
});

test('the commands of the page on service tokens work as they are written', async () => {
  const printed = await runPage(pb, 'docs/tokens.md', 'run', (command, [minted]) => {
    if (minted === undefined) return command;
    const { token } = JSON.parse(minted);
    return command.replaceAll('eyJ...', token).replaceAll('tok_...', decodeJwt(token).jti as string);
  });
  expect(printed.map((text) => JSON.parse(text))).toEqual([
    { token: expect.stringMatching(/^eyJ/), expiresAt: expect.any(String) },
    { connections: [expect.objectContaining({ connectionId: 'ada' })], nextCursor: null },
    { success: true },
  ]);
});

test('the commands of the page on organizations work as they are written', async () => {
  const printed = await runPage(pb, 'docs/organizations.md', 'run', (command, [organizations, made]) => {
    if (organizations === undefined) return command;
    const org = JSON.parse(organizations).organizations[0].id;
    const invitation = made === undefined ? '' : JSON.parse(made).id;
    return command.replaceAll('org_...', org).replaceAll('inv_...', invitation);
  });
  const invitation = { id: expect.stringMatching(/^inv_/), role: 'admin' };
  expect(printed.map((text) => JSON.parse(text))).toMatchObject([
    { organizations: [{ name: 'default', role: 'admin' }] },
    { ...invitation, url: expect.stringContaining(`${pb.url}/login/invitation?`) },
    { invitations: [invitation] },
    { success: true },
    { members: [] },
  ]);
});

test('the commands on API keys, quotas and the audit work as they are written', async () => {
  const printed = await runPage(pb, 'docs/operations.md', 'run', (command, [organizations, made]) => {
    if (organizations === undefined) return command;
    const org = JSON.parse(organizations).organizations[0].id;
    const key = made === undefined ? '' : JSON.parse(made).id;
    return `cd '${pb.dataDir}'\n${command.replaceAll('org_...', org).replaceAll('key_...', key)}`;
  });
  const [organizations, made, listed, revoked, settings, page] = printed
    .slice(0, 6)
    .map((text) => JSON.parse(text));
  expect(organizations).toMatchObject({ organizations: [{ name: 'default', role: 'admin' }] });
  expect(made).toMatchObject({ name: 'billing service', key: expect.stringMatching(/^pb_/) });
  expect(listed.apiKeys).toHaveLength(2);
  expect(revoked).toEqual({ success: true });
  expect(settings.limits).toMatchObject({ connectionOpenCalls: 20 });
  expect(page).toEqual({ entries: [], nextCursor: null });
  const exported = readFileSync(join(pb.dataDir, 'audit.jsonl'), 'utf8').trimEnd().split('\n');
  expect(exported.map((line) => JSON.parse(line).method)).toContain('connections/set');
});
