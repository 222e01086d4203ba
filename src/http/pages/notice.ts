import { type Html, html, nameChars, ownPath, renderPage, shown, textChars, webAddress } from './page.ts';

/** How a setup ended. All strings are untrusted and are escaped here. */
export interface Notice {
  /** `gone` is for a link that was used already or has expired. */
  kind: 'success' | 'failure' | 'gone';
  title: string;
  text: string;
  /** What to do next. */
  hint?: string;
  /** Left out unless `href` is a path on this origin or an http(s) URL. */
  action?: { href: string; label: string };
}

/** The page at the end of a setup: what happened, and what to do next. */
export function renderNotice({ kind, title, text, hint, action }: Notice): string {
  const heading = shown(title, nameChars);
  const href = action && (ownPath(action.href) ?? webAddress(action.href));
  const main = html`
<svg class="sign ${kind}" viewBox="0 0 56 56" width="56" height="56" aria-hidden="true"><circle cx="28" cy="28" r="26"/>${signs[kind]}</svg>
<h1 dir="auto">${heading}</h1>
<p class="lead" dir="auto">${shown(text, textChars)}</p>
${hint === undefined ? undefined : html`<p class="hint" dir="auto">${shown(hint, textChars)}</p>`}
${action && href ? html`<p><a class="button" href="${href}">${shown(action.label, nameChars)}</a></p>` : undefined}`;
  return renderPage(heading, main);
}

/** A tick, an exclamation mark, a clock: the colour alone would not tell them apart. */
const signs: Record<Notice['kind'], Html> = {
  success: html`<path d="M17 29l8 8 15-17"/>`,
  failure: html`<path d="M28 15v16M28 39v1"/>`,
  gone: html`<path d="M28 15v14l9 6"/>`,
};
