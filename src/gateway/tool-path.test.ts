import { expect, test } from 'vitest';
import { matchToolPath } from './tool-path.ts';

const tools = ['repo.search', 'repo/list', 'repo', 'issue.comment.add', 'a.b', 'a/b'].map((name) => ({
  name,
}));
const named = (path: string) => {
  const match = matchToolPath(tools, path);
  return match?.kind === 'tool' ? match.tool.name : match?.tools.map(({ name }) => name);
};

test('a dotted name answers to every spelling', () => {
  expect(named('repo.search')).toBe('repo.search');
  expect(named('repo/search')).toBe('repo.search');
  expect(named('issue/comment.add')).toBe('issue.comment.add');
  expect(named('repo.list')).toBe('repo/list');
});

test('the exact name beats another spelling, and a tool beats a category', () => {
  expect(named('a.b')).toBe('a.b');
  expect(named('a/b')).toBe('a/b');
  expect(named('repo')).toBe('repo');
});

test('a category lists what is below it, by whole segments', () => {
  expect(named('issue')).toEqual(['issue.comment.add']);
  expect(named('issue.comment')).toEqual(['issue.comment.add']);
  expect(named('iss')).toBeUndefined();
  expect(named('nothing')).toBeUndefined();
});
