import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hostileText, readElements, readText } from '../../../test/fixtures/markup.ts';
import { renderContinue } from './continue.ts';

const host = 'auth.example.com';
const find = (page: string, element: string) => readElements(page).filter(({ name }) => name === element);
const refresh = (page: string) =>
  find(page, 'meta').flatMap(({ attributes }) =>
    attributes['http-equiv'] === 'refresh' ? [attributes.content] : [],
  );

describe('renderContinue', () => {
  test('refreshes to the provider at once, and links to it', () => {
    const url = 'https://auth.example.com/authorize?client_id=a&state=b%22c;d';
    const page = renderContinue({ url, host, why: 'login' });
    expect(refresh(page)).toEqual([`0; url=${url}`]);
    expect(find(page, 'a').map(({ attributes }) => attributes.href)).toEqual([url]);
    expect(readText(page)).toContain('Continue to auth.example.com');
    expect(find(page, 'h1')).toHaveLength(1);
    expect(find(page, 'form')).toEqual([]);
  });

  test.each([
    'javascript:alert(1)',
    'data:text/html,<b>',
    'file:///etc/passwd',
    '/authorize',
    '//evil.example',
    '',
  ])('refuses %j', (url) => expect(() => renderContinue({ url, host, why: 'login' })).toThrow(TypeError));

  test('sends to exactly the URL, whatever stands in it', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const { href } = new URL(`https://auth.example.com/?q=${text}`);
        const page = renderContinue({ url: href, host: text, why: 'login' });
        // Where a browser reads the address: after `url=` to the end, with no blank and no leading quotation mark.
        expect(refresh(page)).toEqual([`0; url=${href}`]);
        expect(href).toMatch(/^https:\S*$/);
      }),
    );
  });
});
