import { UriTemplate } from '@modelcontextprotocol/sdk/shared/uriTemplate.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { namespaceUri, readNamespaceUri } from './resource-uri.ts';

/** Ids as connections may have them: no control characters, no lone surrogates, no leading dot. */
const connectionId = fc
  .oneof(
    fc.string({
      unit: fc.constantFrom('a', 'A', '/', '.', '%', '2', 'F', "'", '{', '}', 'é', ' '),
      minLength: 1,
      maxLength: 8,
    }),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
  )
  .filter((id) => !id.startsWith('.') && id.isWellFormed() && !/\p{Cc}/u.test(id));
/** What servers call URIs: some are none. */
const uri = fc.oneof(
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.string({
    unit: fc.constantFrom('a', '/', ':', '%', '?', '#', '{', '}', '+', '\n', '..'),
    maxLength: 12,
  }),
  fc.string({ unit: 'binary' }),
);

describe('the URI of a resource in a namespace', () => {
  test('shows connection and URI', () => {
    expect(namespaceUri('github-1', 'file:///a/b.txt?x=1#y')).toBe(
      'patchbay://connection/github-1/file:///a/b.txt?x=1#y',
    );
    expect(namespaceUri("a/b'c", 'memo://x')).toBe('patchbay://connection/a%2Fb%27c/memo://x');
  });

  test('leads back to both, whatever they are', () => {
    fc.assert(
      fc.property(connectionId, uri, (id, own) => {
        expect(readNamespaceUri(namespaceUri(id, own))).toEqual({ connectionId: id, own });
      }),
      { numRuns: 2_000 },
    );
  });

  test('is never that of another resource', () => {
    fc.assert(
      fc.property(connectionId, uri, connectionId, uri, (id, own, otherId, otherOwn) => {
        fc.pre(id !== otherId || own !== otherOwn);
        expect(namespaceUri(id, own)).not.toBe(namespaceUri(otherId, otherOwn));
      }),
      { numRuns: 2_000 },
    );
  });

  test('is a URI where the server’s own is one, and stays through a parser', () => {
    fc.assert(
      fc.property(connectionId, fc.webUrl({ withQueryParameters: true, withFragments: true }), (id, own) => {
        const { href } = new URL(own);
        expect(readNamespaceUri(new URL(namespaceUri(id, href)).href)).toEqual({
          connectionId: id,
          own: href,
        });
      }),
    );
  });

  test('of a template is a template, which expands to what the server’s own does', () => {
    const name = fc.constantFrom('a', 'b', 'path');
    const part = fc.oneof(
      fc.constantFrom('file:///', 'x', '/', '?q=', ':'),
      fc
        .tuple(fc.constantFrom('', '+', '#', '/', '.', '?', '&'), name)
        .map(([operator, one]) => `{${operator}${one}}`),
    );
    const template = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
    const values = fc.record({
      a: fc.string(),
      b: fc.string({ unit: 'grapheme' }),
      path: fc.constant('x/y%20z{}'),
    });
    fc.assert(
      fc.property(connectionId, template, values, (id, own, variables) => {
        const expanded = new UriTemplate(namespaceUri(id, own)).expand(variables);
        expect(readNamespaceUri(expanded)).toEqual({
          connectionId: id,
          own: new UriTemplate(own).expand(variables),
        });
      }),
    );
  });

  test.each([
    '',
    'file:///a',
    'patchbay://connection/',
    'patchbay://connection/github-1',
    'patchbay://connection//file:///a',
    'patchbay://other/github-1/file:///a',
    'patchbay://connection/%ZZ/file:///a',
    'x patchbay://connection/a/file:///a',
  ])('%j is none', (text) => {
    expect(readNamespaceUri(text)).toBeUndefined();
  });
});
