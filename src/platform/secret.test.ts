import { inspect } from 'node:util';
import pino from 'pino';
import { expect, test } from 'vitest';
import { Secret } from './secret.ts';

test('a secret shows itself nowhere but in reveal()', () => {
  const secret = new Secret('sentinel');
  const lines: string[] = [];
  pino({}, { write: (line: string) => void lines.push(line) }).info(
    { secret, nested: { secret } },
    String(secret),
  );
  for (const shown of [
    `${secret}`,
    JSON.stringify({ secret }),
    inspect({ secret }, { depth: 9 }),
    ...lines,
  ]) {
    expect(shown).not.toContain('sentinel');
  }
  expect(secret.reveal()).toBe('sentinel');
});
