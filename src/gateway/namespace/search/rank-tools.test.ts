import { expect, test } from 'vitest';
import { defaultLimits } from '../../../platform/limits.ts';
import { aggregateName, nameEntries } from '../aggregate-name.ts';
import { rankTools } from './rank-tools.ts';

const tool = (connectionId: string, name: string, rest: Record<string, unknown> = {}) => ({
  connectionId,
  own: name,
  definition: { name, ...rest },
});
const tools = nameEntries(
  [
    tool('github', 'search_issues', { description: 'Finds tickets by text.' }),
    tool('github', 'create_issue', { description: 'Opens a ticket.' }),
    tool('mail', 'sendMessage', { title: 'Send a letter' }),
    tool('mail', 'list', { annotations: { title: 'Inbox' }, description: 'Not about issues at all.' }),
    tool('odd', 'tool', { title: 1, description: { deep: true }, annotations: null }),
    tool('a.b', 'übersetzen', { description: 'Translates text.' }),
  ],
  aggregateName,
);
const find = async (query: string) => (await rankTools(tools, query, defaultLimits)).map(([name]) => name);

test.each([
  ['search_issues', 'github.search_issues'],
  ['github.search_issues', 'github.search_issues'],
  ['send message', 'mail.sendMessage'],
  ['SEND', 'mail.sendMessage'],
  ['messge', 'mail.sendMessage'],
  ['letter', 'mail.sendMessage'],
  ['inbox', 'mail.list'],
  ['transl', aggregateName('a.b', 'übersetzen')],
  ['übersetzen', aggregateName('a.b', 'übersetzen')],
  ['opens a ticket', 'github.create_issue'],
])('%j finds %s first', async (query, name) => {
  expect((await find(query))[0]).toBe(name);
});

test('a name counts more than a description', async () => {
  expect(await find('issues')).toEqual(['github.search_issues', 'github.create_issue', 'mail.list']);
});

test('what nothing matches finds nothing', async () => {
  for (const query of ['zebra', '', '???', '"', 'constructor', '__proto__'])
    expect(await find(query)).toEqual([]);
});
