import { createHash } from 'node:crypto';
import { style } from './style.ts';

/** Markup that may be sent as it is. `html` makes it and nothing else should. */
export class Html {
  readonly markup: string;

  constructor(markup: string) {
    this.markup = markup;
  }
}

type Inserted = string | Html | readonly Html[] | undefined;

/**
 * A template of markup: strings put into it are escaped, markup is taken as it is, `undefined` is nothing.
 * Escaping is right for text and for attribute values in double quotes, and only there (HTML, "escaping a string").
 */
export function html(parts: TemplateStringsArray, ...inserted: Inserted[]): Html {
  return new Html(parts.reduce((markup, part, i) => markup + toMarkup(inserted[i - 1]) + part));
}

function toMarkup(value: Inserted): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value.replace(/[&<>"'\r]/g, (char) => `&#${char.charCodeAt(0)};`);
  return value instanceof Html ? value.markup : value.map(toMarkup).join('\n');
}

/** A name has one line on a phone, two at most. */
export const nameChars = 80;
/** A description or a problem is a paragraph; one that fills the page would push our own words out of sight. */
export const textChars = 400;
/** The longest name in DNS (RFC 1035 §2.3.4) and a port. */
const hostChars = 253 + ':65535'.length;

/**
 * Untrusted text as the page shows it, still to be escaped: at most `maxChars` code points, in one line, without what
 * makes a reader see other text than there is. That is the characters that Unicode calls default-ignorable (bidirectional
 * controls, zero-width characters, tags) and long stacks of combining marks, which paint over the lines around them.
 */
export function shown(text: string, maxChars: number): string {
  const points = [
    ...text
      .toWellFormed()
      .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
      .replace(/(\p{M}{4})\p{M}+/gu, '$1')
      .replace(/[\p{Cc}\s]+/gu, ' ')
      .trim(),
  ];
  return points.length <= maxChars ? points.join('') : `${points.slice(0, maxChars - 1).join('')}…`;
}

/**
 * The host of an address or of a bare `host[:port]`, in ASCII, so that letters of other scripts cannot pass for Latin
 * ones. A host that is too long loses its front: the end says whose it is.
 */
export function shownHost(address: string): string {
  const host = URL.parse(address)?.host || URL.parse(`https://${address}`)?.host || shown(address, hostChars);
  return host.length <= hostChars ? host : `…${host.slice(1 - hostChars)}`;
}

/** `href` if it is a path on this origin, as a browser reads it (`//host`, `/\host` and `/<tab>/host` are not). */
export function ownPath(href: string): string | undefined {
  const origin = 'https://own.invalid';
  return href.startsWith('/') && URL.parse(href, origin)?.origin === origin ? href : undefined;
}

/** The serialized form of `href` if it is an absolute http or https URL. */
export function webAddress(href: string): string | undefined {
  const url = URL.parse(href);
  return url?.protocol === 'https:' || url?.protocol === 'http:' ? url.href : undefined;
}

/** A patch cable with its two plugs, the picture of a connection. */
export const cable = html`<svg viewBox="0 0 88 56" width="88" height="56"><path d="M6 18C50 18 38 38 82 38"/><circle cx="6" cy="18" r="6"/><circle cx="82" cy="38" r="6"/></svg>`;

/** The picture of a page in the browser's tab, as a `data:` URL. */
export const favicon = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><g fill="#d9692f" stroke="#d9692f" stroke-width="4">' +
    '<path d="M6 10c14 0 6 12 20 12" fill="none"/><circle cx="6" cy="10" r="3"/><circle cx="26" cy="22" r="3"/></g></svg>',
)}`;

/** A whole document around `main`. `head` is what the head has beyond the usual. */
export function renderPage(title: string, main: Html, head?: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="${favicon}">
${head}
<style>${new Html(style)}</style>
</head>
<body>
<main>
${main}
</main>
<footer><p>This page is served by Patchbay.</p></footer>
</body>
</html>
`.markup;
}

/**
 * The headers of every page here: no script, no framing, no caching, and no address (which carries the ticket) told to
 * another site. Not `no-referrer`, with which browsers send `Origin: null` with our own form (Fetch §3.2, "append a
 * request Origin header").
 */
export const pageHeaders: Record<string, string> = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': [
    "default-src 'none'",
    `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
    'img-src https: data:',
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; '),
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
};
