import { describe, expect, test } from 'vitest';
import { readableAnswer } from './readable-uris.ts';

const readable = (method: string, result: Record<string, unknown>) =>
  readableAnswer('c', method, { kind: 'result', result });
const link = (uri: unknown) => ({ type: 'resource_link', uri, name: 'x', 'x-kept': 1 });
const embedded = (uri: unknown) => ({ type: 'resource', resource: { uri, text: 'y' }, annotations: {} });
const ofC = (uri: string) => `patchbay://connection/c/${uri}`;

describe('what a server names of its resources', () => {
  test('is what the caller can read', () => {
    expect(
      readable('tools/call', {
        content: [link('a:b'), embedded('file:///x')],
        structuredContent: { uri: 'a:b' },
      }),
    ).toEqual({
      kind: 'result',
      result: { content: [link(ofC('a:b')), embedded(ofC('file:///x'))], structuredContent: { uri: 'a:b' } },
    });
    const prompt = {
      messages: [
        { role: 'user', content: embedded('a:b') },
        { role: 'user', content: [link('a:b')] },
      ],
    };
    expect(readable('prompts/get', prompt)).toMatchObject({
      result: { messages: [{ content: embedded(ofC('a:b')) }, { content: [link(ofC('a:b'))] }] },
    });
    expect(
      readable('resources/read', { contents: [{ uri: 'https://x.example/', text: '' }, { uri: 'a:b' }] }),
    ).toMatchObject({
      result: { contents: [{ uri: ofC('https://x.example/') }, { uri: ofC('a:b') }] },
    });
  });

  test('stays where a client can fetch it from the web by itself', () => {
    for (const uri of ['https://x.example/a', 'HTTP://x.example/']) {
      const result = { content: [link(uri), embedded(uri)] };
      expect(readable('tools/call', result)).toEqual({ kind: 'result', result });
    }
  });

  test.each<[method: string, result: Record<string, unknown>]>([
    [
      'tools/call',
      { content: [{ type: 'text', text: 'a:b', uri: 'a:b' }, null, 'x', 1, [], link(1), embedded(null)] },
    ],
    ['tools/call', { content: 'odd' }],
    ['tools/call', {}],
    ['prompts/get', { messages: [null, 'x', { role: 'user' }, { content: 'text' }, { content: null }] }],
    ['resources/read', { contents: [null, 'x', {}, { uri: 1 }] }],
    ['resources/read', { contents: {} }],
    ['completion/complete', { completion: { values: ['a:b'] }, contents: [{ uri: 'a:b' }] }],
  ])('%s passes %j as it is', (method, result) => {
    expect(readable(method, result)).toEqual({ kind: 'result', result });
  });

  test('is not looked for in errors', () => {
    const error = { kind: 'error', code: -32002, message: 'x', data: { uri: 'a:b' } } as const;
    expect(readableAnswer('c', 'resources/read', error)).toBe(error);
  });
});
