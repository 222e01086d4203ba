import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hostileText, readElements, readText } from '../../../test/fixtures/markup.ts';
import { renderSetupForm, type SetupField, type SetupForm } from './setup-form.ts';

const login = {
  authorizationServer: 'https://auth.example.com/tenant',
  scopes: ['read', 'write'],
  isAgain: false,
  asksForMore: false,
};
const apiKey: SetupField = {
  name: 'header:X-Key',
  label: 'API key',
  required: true,
  secret: true,
  value: '',
};
const region: SetupField = {
  name: 'query:region',
  label: 'Region',
  required: false,
  secret: false,
  value: 'eu',
};
const form: SetupForm = {
  namespace: 'acme',
  connectionName: 'Work account',
  server: { title: 'Example Tracker', host: 'mcp.example.com', iconUrl: undefined },
  action: '/acme/tracker/setup?ticket=t',
  csrf: 'token',
  fields: [],
  askedBy: undefined,
  login: undefined,
  problem: undefined,
  returnHost: undefined,
};

const find = (page: string, element: string) =>
  readElements(page)
    .filter(({ name }) => name === element)
    .map(({ attributes }) => attributes);
const inputs = (page: string) => find(page, 'input').filter(({ type }) => type !== 'hidden');
const fact = (page: string, term: string) => {
  const value = page.split(`<dt>${term}</dt><dd>`)[1]?.split('</dd>')[0];
  return value === undefined ? undefined : readText(value);
};
const focused = (page: string) => readElements(page).filter(({ attributes }) => 'autofocus' in attributes);

describe('what the person agrees to', () => {
  const page = renderSetupForm({ ...form, login, returnHost: 'app.example.net' });

  test('is said in full: application, server, connection, login, scopes, and the way back', () => {
    expect(readText(page)).toContain(
      'The application acme will be able to use your account at mcp.example.com .',
    );
    expect(fact(page, 'Application')).toBe('acme');
    expect(fact(page, 'Server')).toBe('mcp.example.com It calls itself “ Example Tracker ”.');
    expect(fact(page, 'Connection')).toBe('Work account');
    expect(fact(page, 'You log in at')).toBe('auth.example.com');
    expect(fact(page, 'Scopes')).toBe('read write');
    expect(fact(page, 'Then back to')).toBe('app.example.net');
    expect(readText(page)).toContain('If somebody you do not know sent you this link, close this page.');
  });

  test('a server that has not said its name is not quoted', () => {
    const page = renderSetupForm({ ...form, server: { ...form.server, title: undefined } });
    expect(fact(page, 'Server')).toBe('mcp.example.com');
  });

  test('the heading names the host and never the title', () => {
    const heading = page.match(/<h1>(.*)<\/h1>/)?.[1];
    expect(heading).toBe('Connect mcp.example.com');
    expect(find(page, 'h1')).toHaveLength(1);
  });

  test('without scopes it says so, and too many are counted', () => {
    expect(fact(renderSetupForm({ ...form, login: { ...login, scopes: [] } }), 'Scopes')).toBe(
      'No particular scopes',
    );
    const scopes = Array.from({ length: 57 }, (_, i) => `scope-${i}`);
    const listed = fact(renderSetupForm({ ...form, login: { ...login, scopes } }), 'Scopes');
    expect(listed).toMatch(/scope-49 and 7 more$/);
  });

  test('without a login it speaks of none', () => {
    const saved = renderSetupForm({ ...form, fields: [apiKey] });
    expect(readText(saved)).toContain('will be able to use mcp.example.com with what you enter here.');
    expect(fact(saved, 'You log in at')).toBeUndefined();
    expect(fact(saved, 'Scopes')).toBeUndefined();
    expect(fact(saved, 'Then back to')).toBeUndefined();
  });

  test('says why there is a login again', () => {
    const again = renderSetupForm({ ...form, login: { ...login, isAgain: true } });
    const more = renderSetupForm({ ...form, login: { ...login, isAgain: true, asksForMore: true } });
    expect(readText(again)).toContain('This renews the login from before.');
    expect(again).toContain('<title>Log in again at mcp.example.com</title>');
    expect(readText(more)).toContain('The server wants more than you allowed before.');
    expect(readText(more)).not.toContain('This renews');
    expect(more).toContain('<title>Allow more at mcp.example.com</title>');
  });
});

describe('the form', () => {
  test('posts its token to its address with one button, which says where it leads', () => {
    const page = renderSetupForm({ ...form, login });
    expect(find(page, 'form')).toEqual([{ method: 'post', action: '/acme/tracker/setup?ticket=t' }]);
    expect(find(page, 'input')).toEqual([{ type: 'hidden', name: 'csrf', value: 'token' }]);
    expect(page).toContain('<button>Continue to auth.example.com</button>');
    expect(renderSetupForm(form)).toContain('<button>Save</button>');
  });

  test.each(['https://evil.example/', '//evil.example', 'javascript:alert(1)', 'setup', ''])(
    'does not post to %j',
    (action) => expect(() => renderSetupForm({ ...form, action })).toThrow(TypeError),
  );

  test('marks what is required, masks what is secret, and labels both', () => {
    const page = renderSetupForm({ ...form, fields: [apiKey, region], askedBy: 'config.example.com' });
    expect(inputs(page)).toEqual([
      {
        id: 'field-1',
        name: 'header:X-Key',
        type: 'password',
        autocomplete: 'off',
        spellcheck: 'false',
        required: '',
        autofocus: '',
      },
      {
        id: 'field-2',
        name: 'query:region',
        type: 'text',
        value: 'eu',
        autocapitalize: 'none',
        autocomplete: 'off',
        spellcheck: 'false',
      },
    ]);
    expect(find(page, 'label')).toEqual([{ for: 'field-1' }, { for: 'field-2' }]);
    expect(readText(page)).toContain('config.example.com asks for API key required Region optional');
  });

  test('say where a stored value stays if nothing is entered', () => {
    const page = renderSetupForm({ ...form, fields: [{ ...apiKey, required: false, isKept: true }] });
    expect(readText(page)).toContain('API key leave empty to keep');
    expect(inputs(page)[0]).not.toHaveProperty('required');
  });

  test('never writes a secret back', () => {
    const page = renderSetupForm({
      ...form,
      fields: [{ ...apiKey, value: 'sentinel-7f3a', problem: 'Too short.' }],
    });
    expect(page).not.toContain('sentinel-7f3a');
  });

  test('gives a value back exactly as it was', () => {
    const value = ' \u202E<a>\r\n"&quot;\u200B '.repeat(100);
    expect(inputs(renderSetupForm({ ...form, fields: [{ ...region, value }] }))[0]?.value).toBe(value);
  });

  test('falls back to the name where a label has nothing to see', () => {
    expect(renderSetupForm({ ...form, fields: [{ ...region, label: '\u200B' }] })).toContain(
      'query:region</bdi>',
    );
  });
});

describe('problems', () => {
  const page = renderSetupForm({
    ...form,
    problem: 'The server refused these values.',
    fields: [
      { ...apiKey, description: 'Starts with ex_.', problem: 'It is too short.' },
      { ...region, description: 'Two letters.' },
    ],
  });

  test('are summed up in an alert that has the focus and links to the fields', () => {
    expect(focused(page)).toEqual([
      { name: 'div', attributes: { class: 'problems', role: 'alert', tabindex: '-1', autofocus: '' } },
    ]);
    expect(find(page, 'a')).toEqual([{ href: '#field-1' }]);
    expect(readText(page)).toContain('The server refused these values. API key: It is too short.');
    expect(page).toContain('<title>Error: Connect mcp.example.com</title>');
  });

  test('and descriptions are tied to their fields', () => {
    expect(inputs(page).map((input) => [input['aria-describedby'], input['aria-invalid']])).toEqual([
      ['field-1-description field-1-problem', 'true'],
      ['field-2-description', undefined],
    ]);
    for (const id of ['field-1-description', 'field-1-problem', 'field-2-description']) {
      expect(find(page, 'p').filter((paragraph) => paragraph.id === id)).toHaveLength(1);
    }
  });

  test('are absent from a first visit', () => {
    expect(find(renderSetupForm({ ...form, fields: [region] }), 'div').map(({ role }) => role)).not.toContain(
      'alert',
    );
    expect(focused(renderSetupForm({ ...form, login }))).toEqual([]);
  });
});

describe('the icon', () => {
  const icons = (iconUrl: string) =>
    find(renderSetupForm({ ...form, server: { ...form.server, iconUrl } }), 'img').map(({ src }) => src);

  test.each([
    'https://example.com/icon.png',
    'data:image/png;base64,AAAA',
    'data:image/svg+xml,%3Csvg%20xmlns=%22http://www.w3.org/2000/svg%22/%3E',
  ])('may be %s', (address) => {
    expect(icons(address)).toEqual([address]);
  });

  test.each([
    'http://example.com/icon.png',
    'javascript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'data:image/html,x',
    'data:image/pngx,x',
    'data:,x',
    'blob:https://example.com/1',
    '/icon.png',
    '',
  ])('may not be %j; a letter stands there', (iconUrl) => {
    const page = renderSetupForm({ ...form, server: { ...form.server, iconUrl } });
    expect(find(page, 'img')).toEqual([]);
    expect(page).toContain('<span class="tile">E</span>');
  });

  test('tells its server nothing and a screen reader neither', () => {
    const server = { ...form.server, iconUrl: 'https://example.com/icon.png' };
    expect(find(renderSetupForm({ ...form, server }), 'img')).toMatchObject([
      { alt: '', referrerpolicy: 'no-referrer', 'data-letter': 'E' },
    ]);
  });
});

describe('untrusted text', () => {
  const full: SetupForm = {
    ...form,
    server: { ...form.server, iconUrl: 'https://example.com/i.png' },
    fields: [apiKey, region].map((field) => ({ ...field, description: 'x', problem: 'x' })),
    askedBy: 'x',
    login,
    problem: 'x',
    returnHost: 'x',
  };
  const shape = (page: string) =>
    readElements(page).map(({ name, attributes }) => [name, Object.keys(attributes)]);

  test('in every place leaves the structure of the page as it is', () => {
    fc.assert(
      fc.property(fc.infiniteStream(hostileText), (texts) => {
        const next = () => texts.next().value ?? '';
        const hostile: SetupForm = {
          namespace: next(),
          connectionName: next(),
          server: { title: next(), host: next(), iconUrl: `https://example.com/${next()}` },
          action: `/${encodeURIComponent(next())}?"'<>&=${next()}`,
          csrf: next(),
          fields: full.fields.map(({ required, secret }) => ({
            name: next(),
            label: next(),
            description: next(),
            value: next(),
            problem: next(),
            required,
            secret,
          })),
          askedBy: next(),
          login: { ...login, authorizationServer: next(), scopes: [next(), next()] },
          problem: next(),
          returnHost: next(),
        };
        expect(shape(renderSetupForm(hostile))).toEqual(shape(renderSetupForm(full)));
      }),
      { numRuns: 50 },
    );
  });

  test('never becomes an address with another scheme', () => {
    const schemes = fc.constantFrom(
      'javascript:',
      'data:text/html,',
      'vbscript:',
      ' javascript:',
      'java\tscript:',
    );
    fc.assert(
      fc.property(schemes, hostileText, (scheme, rest) => {
        const text = scheme + rest;
        const page = renderSetupForm({
          ...full,
          server: { title: text, host: text, iconUrl: text },
          returnHost: text,
        });
        for (const { attributes } of readElements(page)) {
          for (const address of [attributes.href, attributes.src, attributes.action]) {
            if (address !== undefined) expect(address).toMatch(/^(https:|data:image\/|#field-\d$|\/acme)/);
          }
        }
      }),
    );
  });
});
