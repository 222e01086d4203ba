import { cable, html, renderPage, shownHost, webAddress } from '../pages/page.ts';

/** Where a person is sent on to. */
export interface Onward {
  url: string;
  /** What the page names. */
  host: string;
  /** To log in at the provider, or back to the application. */
  why: 'login' | 'return';
}

const leads: Record<Onward['why'], string> = {
  login: 'You log in there, and then come back here.',
  return: 'This is done. The application goes on from here.',
};

/**
 * Sends the person on: an answer 200 with a refresh and a link, and not a redirect, because Chromium
 * applies `form-action` also to where the answer of a form redirects (CSP 3 §6.4.1.1).
 * Throws TypeError unless `url` is an absolute http(s) URL.
 */
export function renderContinue(to: Onward): string {
  const url = webAddress(to.url);
  if (url === undefined) throw new TypeError('A person is sent on only to an http or https URL.');
  const host = shownHost(to.host);
  const main = html`
<div class="patch under-way" aria-hidden="true">${cable}</div>
<h1>Taking you to ${host}</h1>
<p class="lead">${leads[to.why]}</p>
<p><a class="button" href="${url}">Continue to ${host}</a></p>`;
  // A serialized URL starts with no quotation mark and holds no space, so all of it is the address of the refresh
  // (HTML, "shared declarative refresh steps").
  return renderPage(`Taking you to ${host}`, main, html`<meta http-equiv="refresh" content="0; url=${url}">`);
}
