import { describe, expect, test } from 'vitest';
import { ApiError, errorTable } from './errors.ts';

const rows = Object.entries(errorTable);

describe('the table of errors', () => {
  test('gives each error a JSON-RPC code of its own, outside the range that MCP reserves', () => {
    const standard = new Set([-32700, -32600, -32601, -32602, -32603, -32001, -32002, -32020, -32022]);
    const own = rows.map(([, row]) => row.rpc as number).filter((code) => !standard.has(code));
    expect(new Set(own).size).toBe(own.length);
    for (const code of own) expect(code < -32768 || code > -32000).toBe(true);
  });

  test('docs/errors.md says what the table says', async () => {
    const lines = rows.map(
      ([code, row]) => `| \`${code}\` | ${row.status} | ${row.rpc} | ${row.when} | ${row.remedy} |`,
    );
    const page = [
      '# Errors',
      '',
      'REST answers `{error, message}` with the code below (namespaces and servers: `{error}` with the text); MCP',
      'endpoints answer a JSON-RPC error with the number. `x-should-retry: false` marks what must not be repeated.',
      '',
      '| Code | HTTP | JSON-RPC | When | What to do |',
      '|---|---|---|---|---|',
      ...lines,
      '',
    ];
    await expect(page.join('\n')).toMatchFileSnapshot('../../docs/errors.md');
  });
});

describe('x-should-retry', () => {
  test('is false for conflicts and failures, unless the work provably did not run', () => {
    expect(new ApiError('url_mismatch').answerHeaders()).toEqual({ 'x-should-retry': 'false' });
    expect(new ApiError('upstream_failed').answerHeaders()).toEqual({ 'x-should-retry': 'false' });
    expect(new ApiError('upstream_failed', { retryable: true }).answerHeaders()).toEqual({});
    expect(new ApiError('not_found').answerHeaders()).toEqual({});
  });
});
