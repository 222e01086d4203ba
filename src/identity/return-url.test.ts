import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isAllowedReturnUrl, returnUrlProblem } from './return-url.ts';

const allows = (entry: string, url: string) => isAllowedReturnUrl({ returnUrls: [entry] }, url);

describe('isAllowedReturnUrl', () => {
  test.each([
    ['https://app.example/done', 'https://app.example/done'],
    ['https://app.example/done', 'https://app.example/done/'],
    ['https://app.example/done', 'https://app.example/done/user/1?ok=1#top'],
    ['https://app.example/done', 'https://app.example/done?next=https://evil.example/'],
    ['https://app.example/done', 'HTTPS://APP.example:443/done'],
    ['https://app.example/done', 'https://app.example/other/../done/x'],
    ['https://app.example/', 'https://app.example/any/where'],
    ['https://app.example/', 'https://app.example'],
    ['https://app.example/done/', 'https://app.example/done/x'],
    ['https://app.example/caf%C3%A9', 'https://app.example/café/x'],
    ['https://app.example/', 'https://app.example/100%25'],
    ['http://localhost:3000/', 'http://localhost:3000/back'],
  ])('%s allows %s', (entry, url) => {
    expect(allows(entry, url)).toBe(true);
  });

  test.each([
    ['another host', 'https://evil.example/done'],
    ['another scheme', 'http://app.example/done'],
    ['another port', 'https://app.example:8443/done'],
    ['a longer host', 'https://app.example.evil.example/done'],
    ['a subdomain', 'https://x.app.example/done'],
    ['no URL', '/done'],
    ['no scheme', '//app.example/done'],
    ['a script', 'javascript:location="https://app.example/done"'],
    ['a blob', 'blob:https://app.example/done'],
    ['a path that only begins alike', 'https://app.example/done-not'],
    ['the path above', 'https://app.example/'],
    ['another case', 'https://app.example/Done'],
    ['a user name', 'https://me@app.example/done'],
    ['a host as user name', 'https://app.example@evil.example/done'],
    ['a host as user name, with a backslash', 'https://evil.example\\@app.example/done'],
    ['a backslash in the path', 'https://app.example/done\\x'],
    ['a backslash for the slashes', 'https:\\\\app.example/done'],
    ['one slash, which is a path in a Location header', 'https:/app.example/done'],
    ['no slash', 'https:app.example/done'],
    ['three slashes', 'https:///app.example/done'],
    ['a tab in the host', 'https://app\t.example/done'],
    ['a line break', 'https://app.example/done\r\nx: y'],
    ['white space around', ' https://app.example/done'],
    ['dot segments', 'https://app.example/done/../admin'],
    ['encoded dot segments', 'https://app.example/done/%2e%2E/admin'],
    ['an encoded slash', 'https://app.example/done/..%2fadmin'],
    ['an encoded backslash', 'https://app.example/done/..%5Cadmin'],
    ['an escape encoded twice', 'https://app.example/done/%252e%252e/admin'],
    ['a path parameter', 'https://app.example/done/..;/admin'],
    ['an encoded path parameter', 'https://app.example/done/..%3bx/admin'],
    ['an encoded NUL', 'https://app.example/done/%00'],
    ['an escape that is none', 'https://app.example/done/%zz'],
    ['nothing', ''],
  ])('refuses %s: %s', (_what, url) => {
    expect(allows('https://app.example/done', url)).toBe(false);
  });

  test('refuses all with an empty list', () => {
    expect(isAllowedReturnUrl({ returnUrls: [] }, 'https://app.example/')).toBe(false);
  });

  test('asks every entry', () => {
    const returnUrls = ['https://a.example/x', 'https://b.example/y'];
    expect(isAllowedReturnUrl({ returnUrls }, 'https://b.example/y/z')).toBe(true);
    expect(isAllowedReturnUrl({ returnUrls }, 'https://b.example/x')).toBe(false);
  });

  const piece = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom('/', '\\', '.', '..', '%2e', '%2E%2e', '%2f', '%5c', ';') },
    {
      weight: 5,
      arbitrary: fc.constantFrom('/done', '/../', '/..;', '/..%3b', '//app.example', 'app.example'),
    },
    { weight: 4, arbitrary: fc.constantFrom('%252e', '%252f', '%25', '%00', '\t', '@', ':', '?', '#', ' ') },
    { weight: 2, arbitrary: fc.constantFrom('admin', 'evil.example', '。', '．', '／') },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) },
  );
  const tail = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));

  /** How servers of several minds may read a path; each must end where the entry allows. */
  function readings(pathname: string): string[] {
    const once = decodeURIComponent(pathname);
    let twice = once;
    try {
      twice = decodeURIComponent(once);
    } catch {
      // A server that decodes twice answers 400 here.
    }
    return [pathname, once, twice]
      .flatMap((path) => [path, path.replaceAll('\\', '/')])
      .flatMap((path) => [path, path.replace(/;[^/]*/g, '')])
      .map((path) => posix.normalize(path));
  }

  test('whatever it allows is of the entry’s origin and below its path, however a server reads it', () => {
    let allowed = 0;
    fc.assert(
      fc.property(
        fc.constantFrom('https://app.example', 'https://app.example/done', 'https:', 'https://', ''),
        tail,
        (head, rest) => {
          const url = head + rest;
          if (!allows('https://app.example/done', url)) return;
          allowed++;
          // As a browser reads it, alone and as a Location of another https page.
          for (const parsed of [new URL(url), new URL(url, 'https://patchbay.example/oauth/callback')]) {
            expect(parsed.origin).toBe('https://app.example');
            expect(parsed.username + parsed.password).toBe('');
            for (const path of readings(parsed.pathname)) expect(path).toMatch(/^\/done(\/|$)/);
          }
        },
      ),
      { numRuns: 20_000 },
    );
    expect(allowed).toBeGreaterThan(100);
  });

  test('allows everything below an entry that is made of plain segments', () => {
    const segments = fc.array(fc.stringMatching(/^[A-Za-z0-9_~-]{1,8}$/), { maxLength: 4 });
    fc.assert(
      fc.property(segments, segments, fc.webQueryParameters(), (above, below, query) => {
        const entry = ['https://app.example', ...above].join('/');
        expect(allows(entry, [entry, ...below].join('/') + (query && `?${query}`))).toBe(true);
      }),
    );
  });
});

describe('returnUrlProblem', () => {
  test.each([
    'https://app.example',
    'https://app.example:8443/a/b',
    'http://localhost:3000/',
    'http://app.localhost/',
    'http://127.0.0.1:5173',
    'http://[::1]:8080/x',
  ])('takes %s', (url) => {
    expect(returnUrlProblem(url)).toBeUndefined();
  });

  test.each([
    ['app.example/done', /absolute/],
    ['/done', /absolute/],
    ['ftp://app.example/', /absolute/],
    ['javascript://app.example/%0aalert(1)', /absolute/],
    ['https:app.example', /absolute/],
    ['https://', /absolute/],
    ['https://app.example\\x', /absolute/],
    ['http://app.example/', /loopback/],
    ['http://127.0.0.1.evil.example/', /loopback/],
    ['http://localhost.evil.example/', /loopback/],
    ['https://u:p@app.example/', /user name/],
    ['https://app.example/#x', /fragment/],
    ['https://app.example/?x=1', /query/],
    ['https://app.example/a%2fb', /encoded/],
  ])('refuses %s', (url, problem) => {
    expect(returnUrlProblem(url)).toMatch(problem);
  });

  test('an entry that it takes allows itself', () => {
    fc.assert(
      fc.property(fc.webUrl({ validSchemes: ['http', 'https'] }), (url) => {
        if (returnUrlProblem(url) === undefined) expect(allows(new URL(url).href, url)).toBe(true);
      }),
    );
  });
});
