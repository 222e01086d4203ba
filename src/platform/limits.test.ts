import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { defaultLimits, type Limits } from './limits.ts';

/** The groups of limits of limits.ts: a comment, and the names below it. */
async function readGroups(): Promise<{ comment: string; names: (keyof Limits)[] }[]> {
  const source = await readFile(new URL('limits.ts', import.meta.url), 'utf8');
  const object = source.slice(source.indexOf('defaultLimits = {'), source.indexOf('\n}'));
  const parts = object.matchAll(/\/\*\*(?<comment>[\s\S]*?)\*\/(?<members>(?:\s*\w+:[^\n]*)+)/g);
  return Array.from(parts, ({ groups = {} }) => ({
    comment: (groups.comment ?? '').replace(/\s*\n\s*\*\s?/g, ' ').trim(),
    names: Array.from((groups.members ?? '').matchAll(/^\s*(\w+):/gm), ([, name]) => name as keyof Limits),
  }));
}

test('each limit is a whole number from 1, with its unit in its name', () => {
  const wrong = Object.entries(defaultLimits).filter(
    ([, value]) => !Number.isSafeInteger(value) || value < 1,
  );
  expect(wrong).toEqual([]);
});

test('docs/limits.md says what limits.ts says', async () => {
  const groups = await readGroups();
  expect(groups.flatMap(({ names }) => names)).toEqual(Object.keys(defaultLimits));
  const rows = groups.map(({ comment, names }) => {
    const values = names.map((name) => defaultLimits[name].toLocaleString('en-US').replaceAll(',', ' '));
    return `| ${names.map((name) => `\`${name}\``).join('<br>')} | ${values.join('<br>')} | ${comment} |`;
  });
  const page = [
    '# Limits',
    '',
    'Names end with their unit: `Ms` are milliseconds, `Bytes` bytes, `Chars` UTF-16 code units, `PerMinute` requests a minute. Others are',
    'counts. Where several names share a row, so do they what it says.',
    '',
    'The operator sets other ones with `PATCHBAY_LIMITS=name=number,name=number`. Each holds for one process, but for those that',
    'count what is stored.',
    '',
    '| Name | Default | What it limits |',
    '|---|--:|---|',
    ...rows,
    '',
  ];
  await expect(page.join('\n')).toMatchFileSnapshot('../../docs/limits.md');
});
