import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hostileText, readElements } from '../../../test/fixtures/markup.ts';
import { html, ownPath, pageHeaders, renderPage, shown, shownHost, webAddress } from './page.ts';

describe('html', () => {
  test('gives any text back to whoever reads the markup, and adds no markup', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const { markup } = html`<p title="${text}">${html`<b>ours</b>`}</p>`;
        expect(readElements(markup)).toEqual([
          { name: 'p', attributes: { title: text } },
          { name: 'b', attributes: {} },
        ]);
      }),
    );
  });

  test('escapes strings once, keeps markup, and leaves out what is undefined', () => {
    const items = ['<a>', '&'].map((text) => html`<li>${text}</li>`);
    expect(html`<ul>${items}${undefined}</ul>`.markup).toBe('<ul><li>&#60;a&#62;</li>\n<li>&#38;</li></ul>');
  });
});

describe('shown', () => {
  test('takes out what a reader cannot see or what turns the text around', () => {
    expect(shown('pay\u202Elap\u2066\u200B.\u200Dcom\uFEFF\u061C\u{E0041}\u00AD\u3164', 80)).toBe(
      'paylap.com',
    );
  });

  test('is one line', () => {
    expect(shown('  a\r\n\tb\u0000\u2028c  ', 80)).toBe('a b c');
  });

  test('cuts a long text and says so', () => {
    expect(shown('abcdef', 6)).toBe('abcdef');
    expect(shown('abcdefg', 6)).toBe('abcde…');
    expect(shown('👍'.repeat(7), 6)).toBe(`${'👍'.repeat(5)}…`);
  });

  test('lowers stacks of combining marks and keeps those of a real script', () => {
    expect(shown(`a${'\u0301'.repeat(50)}`, 80)).toBe('a\u0301\u0301\u0301\u0301');
    expect(shown('नमस्ते', 80)).toBe('नमस्ते');
  });

  test('never is longer than it may be, and never holds an invisible character', () => {
    fc.assert(
      fc.property(hostileText, fc.integer({ min: 1, max: 20 }), (text, max) => {
        const result = shown(text, max);
        expect([...result].length).toBeLessThanOrEqual(max);
        expect(result).not.toMatch(/\p{Default_Ignorable_Code_Point}|\p{Cc}|\p{Cs}/u);
      }),
    );
  });
});

describe('shownHost', () => {
  test('is the host of an address, with the port', () => {
    expect(shownHost('https://auth.example.com/tenant?x=1')).toBe('auth.example.com');
    expect(shownHost('http://localhost:3000/')).toBe('localhost:3000');
    expect(shownHost('mcp.example.com')).toBe('mcp.example.com');
    expect(shownHost('localhost:3000')).toBe('localhost:3000');
    expect(shownHost('[::1]:8080')).toBe('[::1]:8080');
  });

  test('is not taken in by user names, other scripts and invisible characters', () => {
    expect(shownHost('https://bank.example@evil.example/')).toBe('evil.example');
    expect(shownHost('аpple.com')).toBe('xn--pple-43d.com');
    expect(shownHost('ex\u200Bample.com')).toBe('example.com');
  });

  test('shows text that is no host as text', () => {
    expect(shownHost('not a \u202Ehost')).toBe('not a host');
  });

  test('cuts a host that is too long at its front', () => {
    const host = shownHost(`${'bank.example.'.repeat(100)}evil.example`);
    expect(host).toMatch(/^….*\.evil\.example$/);
    expect(host).toHaveLength(259);
  });
});

describe('ownPath and webAddress', () => {
  test('take what they are for', () => {
    expect(ownPath('/acme/github-1/setup?ticket=a%2Fb')).toBe('/acme/github-1/setup?ticket=a%2Fb');
    expect(webAddress('https://Example.com/a b')).toBe('https://example.com/a%20b');
    expect(webAddress('http://localhost:3000')).toBe('http://localhost:3000/');
  });

  test.each([
    'javascript:alert(1)',
    ' JaVa\tScript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://example.com/1',
    'https:',
    '',
  ])('refuse %j', (href) => {
    expect(ownPath(href)).toBeUndefined();
    expect(webAddress(href)).toBeUndefined();
  });

  test.each(['//evil.example', '/\\evil.example', '/\t/evil.example', '\\\\evil.example', 'setup', '?a'])(
    'do not take %j for a path of ours',
    (href) => expect(ownPath(href)).toBeUndefined(),
  );

  test('never lead to another origin or another scheme', () => {
    const hrefs = fc.string({
      unit: fc.constantFrom('/', '\\', '.', ':', '@', '\t', '\n', '?', '#', 'a', 'http'),
    });
    fc.assert(
      fc.property(hrefs, (href) => {
        const path = ownPath(href);
        if (path !== undefined)
          expect(new URL(path, 'http://patchbay.test:8080').host).toBe('patchbay.test:8080');
        const address = webAddress(href);
        if (address !== undefined) expect(address).toMatch(/^https?:\/\//);
      }),
    );
  });
});

describe('renderPage and pageHeaders', () => {
  const page = renderPage('<A & B>', html`<h1>x</h1>`, html`<meta name="a" content="b">`);

  test('the policy names the hash of the one style sheet in the page', () => {
    const sheets = [...page.matchAll(/<style>([^<]*)<\/style>/g)];
    expect(sheets).toHaveLength(1);
    const hash = createHash('sha256')
      .update(sheets[0]?.[1] ?? '')
      .digest('base64');
    expect(pageHeaders['content-security-policy']).toContain(`style-src 'sha256-${hash}';`);
  });

  test('the policy allows nothing else but images and the form', () => {
    const directives = (pageHeaders['content-security-policy'] ?? '')
      .split('; ')
      .filter((directive) => !directive.startsWith('style-src'));
    expect(directives).toEqual([
      "default-src 'none'",
      'img-src https: data:',
      "form-action 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'",
    ]);
  });

  test('the other headers keep the page and its address to itself', () => {
    expect(pageHeaders).toMatchObject({
      'x-frame-options': 'DENY',
      'referrer-policy': 'same-origin',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'cross-origin-opener-policy': 'same-origin',
    });
  });

  test('a page is in English, fits a phone, has landmarks, and loads and runs nothing', () => {
    const elements = readElements(page);
    const names = elements.map(({ name }) => name);
    expect(page).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(page).toContain('<title>&#60;A &#38; B&#62;</title>');
    expect(elements).toContainEqual({
      name: 'meta',
      attributes: { name: 'viewport', content: 'width=device-width, initial-scale=1' },
    });
    expect(elements).toContainEqual({ name: 'meta', attributes: { name: 'a', content: 'b' } });
    expect(names.filter((name) => name === 'main' || name === 'footer')).toEqual(['main', 'footer']);
    expect(names).not.toContain('script');
    expect(elements.flatMap(({ attributes }) => Object.keys(attributes))).not.toContain('style');
    const icon = elements.find(({ name }) => name === 'link')?.attributes.href;
    expect(icon).toMatch(/^data:image\/svg\+xml,/);
  });
});
