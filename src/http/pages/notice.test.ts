import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hostileText, readElements, readText } from '../../../test/fixtures/markup.ts';
import { type Notice, renderNotice } from './notice.ts';

const notice: Notice = {
  kind: 'success',
  title: 'Connected',
  text: 'The application can use it now.',
  hint: 'You may close this page.',
  action: { href: 'https://app.example.com/done?a=1&b=2', label: 'Back to app.example.com' },
};
const shape = (page: string) =>
  readElements(page).map(({ name, attributes }) => [name, Object.keys(attributes)]);
const links = (page: string) =>
  readElements(page)
    .filter(({ name }) => name === 'a')
    .map(({ attributes }) => attributes.href);

describe('renderNotice', () => {
  test('says what happened, what to do, and where to go', () => {
    const page = renderNotice(notice);
    for (const said of ['Connected', notice.text, 'You may close this page.', 'Back to app.example.com']) {
      expect(readText(page)).toContain(said);
    }
    expect(page).toContain('<title>Connected</title>');
    expect(readElements(page).filter(({ name }) => name === 'h1')).toHaveLength(1);
    expect(links(page)).toEqual(['https://app.example.com/done?a=1&b=2']);
  });

  test('needs neither a hint nor an action', () => {
    const page = renderNotice({ kind: 'gone', title: 'Gone', text: 'The link has expired.' });
    expect(links(page)).toEqual([]);
    expect(page).not.toContain('class="hint"');
  });

  test('tells the kinds apart by shape', () => {
    const signs = (['success', 'failure', 'gone'] as const).map(
      (kind) => renderNotice({ ...notice, kind }).match(/<circle[^>]*\/>(<path[^>]*\/>)<\/svg>/)?.[1],
    );
    expect(signs).not.toContain(undefined);
    expect(new Set(signs).size).toBe(3);
  });

  test('links to paths of this origin', () => {
    expect(
      links(renderNotice({ ...notice, action: { href: '/a/b/setup?t=1', label: 'Try again' } })),
    ).toEqual(['/a/b/setup?t=1']);
  });

  test.each(['javascript:alert(1)', 'data:text/html,<b>', '//evil.example', 'relative'])(
    'does not link to %s',
    (href) => expect(links(renderNotice({ ...notice, action: { href, label: 'Go' } }))).toEqual([]),
  );

  test('keeps its structure whatever it is told', () => {
    fc.assert(
      fc.property(hostileText, hostileText, hostileText, hostileText, (title, said, hint, label) => {
        const page = renderNotice({ ...notice, title, text: said, hint, action: { href: '/', label } });
        expect(shape(page)).toEqual(shape(renderNotice(notice)));
      }),
    );
  });
});
