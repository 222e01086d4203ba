import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RequestMatch } from './request-match.ts';

const call = (name: unknown, args: object = {}) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: args },
});
const accepts = (patterns: Record<string, string>, request: unknown) =>
  new RequestMatch(patterns, 512).accepts(request);

describe('an rpcReqMatch', () => {
  test('holds the value at each path against its expression, and all have to match', () => {
    const reads = { method: '^tools/call$', 'params.name': '^(get|list)_' };
    expect(accepts(reads, call('get_issue'))).toBe(true);
    expect(accepts(reads, call('delete_issue'))).toBe(false);
    expect(accepts(reads, { ...call('get_issue'), method: 'prompts/get' })).toBe(false);
    expect(accepts({ 'params.arguments.repo': '^acme/' }, call('x', { repo: 'acme/site' }))).toBe(true);
    expect(accepts({ 'params.arguments.labels.1': '^b$' }, call('x', { labels: ['a', 'b'] }))).toBe(true);
  });

  test('finds the expression anywhere in the text, unless it has anchors', () => {
    expect(accepts({ 'params.name': 'issue' }, call('get_issue_by_id'))).toBe(true);
    expect(accepts({ 'params.name': '^issue$' }, call('get_issue_by_id'))).toBe(false);
    expect(accepts({ 'params.name': '^issue$' }, call('issue\n'))).toBe(false);
    expect(accepts({ 'params.name': '^issue$' }, call('issue\nissue'))).toBe(false);
  });

  test('compares other plain values as their JSON, and nothing that has members', () => {
    const at = (value: unknown, pattern: string) => accepts({ 'params.name': pattern }, call(value));
    expect(at(7, '^7$')).toBe(true);
    expect(at(false, '^false$')).toBe(true);
    expect(at(null, '^null$')).toBe(true);
    expect(at({ toString: 'a' }, '')).toBe(false);
    expect(at(['a'], '')).toBe(false);
  });

  test('does not match what is not there, nor what objects have by themselves', () => {
    for (const path of [
      'params.title',
      'params.name.length',
      'constructor.name',
      'params.__proto__',
      'a.b',
    ]) {
      expect(accepts({ [path]: '' }, call('x'))).toBe(false);
    }
    expect(accepts({ 'params.arguments.length': '' }, call('x', []))).toBe(false);
    for (const request of [undefined, null, 'method', 7, []]) {
      expect(accepts({ method: '' }, request)).toBe(false);
    }
    expect(accepts({ 'params.__proto__': '^x$' }, JSON.parse('{"params":{"__proto__":"x"}}'))).toBe(true);
  });

  test('does not match a text that is too long to be held against it', () => {
    expect(accepts({ 'params.name': '^a*$' }, call('a'.repeat(512)))).toBe(true);
    expect(accepts({ 'params.name': '^a*$' }, call('a'.repeat(513)))).toBe(false);
  });

  test('comes through JSON unchanged', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.constantFrom('^a$', '', 'x|y')), (patterns) => {
        const match = new RequestMatch(patterns, 512);
        expect(JSON.parse(JSON.stringify(match))).toEqual({ ...patterns });
      }),
    );
  });

  test('needs no more steps for a hostile expression than for another one', () => {
    const text = `${'a'.repeat(500)}!`;
    // Each takes a backtracking engine longer than the universe has had.
    for (const hostile of [
      '(a*)*$b',
      '(a|a)*b',
      '(a|aa)+c',
      '^(([a-z])+.)+[A-Z]([a-z])+$',
      '(.*)*(.*)*(.*)*x',
    ]) {
      expect(accepts({ 'params.name': hostile }, call(text))).toBe(false);
    }
  });
});
