import { expect, test } from 'vitest';
import { AuditEntry } from './entry.ts';

const actor = { organizationId: 'org', kind: 'api_key', keyId: 'key', tokenId: null, userId: null };
const entryOf = (traceparent?: string) => new AuditEntry(actor, 0, 'default', 'POST', traceparent);

test.each([
  ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', '4bf92f3577b34da6a3ce929d0e0e4736'],
  // Later versions may say more, after a hyphen (W3C Trace Context §3.2.4).
  ['cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more', '4bf92f3577b34da6a3ce929d0e0e4736'],
  ['ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', null],
  ['00-00000000000000000000000000000000-00f067aa0ba902b7-01', null],
  ['00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01', null],
  ['x00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', null],
  ['anything else', null],
  [undefined, null],
])('the trace id of %j is %j', (traceparent, traceId) => {
  expect(entryOf(traceparent).traceId).toBe(traceId);
});

test('only a call of a tool has a tool, and only a text is its name', () => {
  const entry = entryOf();
  entry.carries('prompts/get', { name: 'a prompt' });
  expect(entry).toMatchObject({ method: 'prompts/get', tool: null });
  entry.carries('tools/call', { name: { not: 'a name' } });
  expect(entry).toMatchObject({ method: 'tools/call', tool: null });
  entry.carries('tools/call', { name: 'echo' });
  expect(entry.tool).toBe('echo');
  entry.carries(undefined, undefined);
  expect(entry.method).toBe('response');
});
