import {
  cable,
  type Html,
  html,
  nameChars,
  ownPath,
  renderPage,
  shown,
  shownHost,
  textChars,
} from '../pages/page.ts';

/** Everything the setup page shows. All strings are untrusted and are escaped here. */
export interface SetupForm {
  /** The application that will be able to use the account. */
  namespace: string;
  connectionName: string;
  /** `title` is what the server calls itself, if that is known; `host` is where it is. */
  server: { title: string | undefined; host: string; iconUrl: string | undefined };
  /** Path and query that the form posts to. */
  action: string;
  /** Value of the hidden field `csrf`. */
  csrf: string;
  fields: SetupField[];
  /** The host that asks for the fields. */
  askedBy: string | undefined;
  /** The login that follows, if one does. `authorizationServer` is its issuer or its host. */
  login: SetupLogin | undefined;
  /** What went wrong with the last attempt. */
  problem: string | undefined;
  /** Where the person is brought back to afterwards. */
  returnHost: string | undefined;
}

export interface SetupField {
  /** The name the form sends it under. */
  name: string;
  label: string;
  description?: string;
  required: boolean;
  /** Masked, and never written back into the page: `value` is ignored. */
  secret: boolean;
  /** A value is stored that the page does not show; it stays where the field is left empty. */
  isKept?: boolean;
  value: string;
  /** What is wrong with the value. */
  problem?: string;
}

interface SetupLogin {
  authorizationServer: string;
  scopes: string[];
  /** The connection had a login before. */
  isAgain: boolean;
  /** The server wants scopes that the login before did not have. */
  asksForMore: boolean;
}

/** Scopes listed one by one; a server that asks for more than this wants to be scrolled past. */
const scopesListed = 50;

/**
 * The setup page: what the person agrees to, the fields to fill in, and one button. Throws TypeError when `action` is
 * not a path on this origin.
 */
export function renderSetupForm(form: SetupForm): string {
  const action = ownPath(form.action);
  if (action === undefined) throw new TypeError('The action of a setup form is a path on its own origin.');
  const heading = `${verb(form.login)} ${shownHost(form.server.host)}`;
  const summary = renderProblems(form);
  const main = html`
${summary}
${renderPatch(form)}
<h1>${heading}</h1>
${renderLead(form)}
<form method="post" action="${action}">
<input type="hidden" name="csrf" value="${form.csrf}">
${renderFields(form, summary === undefined)}
${renderTerms(form)}
<p class="caution"><strong>If somebody you do not know sent you this link, close this page.</strong>
Otherwise they may get to use your account. Nothing happens until you press the button.</p>
<button>${form.login ? `Continue to ${shownHost(form.login.authorizationServer)}` : 'Save'}</button>
</form>`;
  return renderPage(summary ? `Error: ${heading}` : heading, main);
}

function verb(login: SetupLogin | undefined): string {
  if (login?.asksForMore) return 'Allow more at';
  return login?.isAgain ? 'Log in again at' : 'Connect';
}

/** The summary of problems, which takes the focus: a link to each field that has one. */
function renderProblems({ problem, fields }: SetupForm): Html | undefined {
  const links = fields.flatMap((field, i) =>
    field.problem === undefined
      ? []
      : [
          html`<li><a href="#field-${String(i + 1)}">${fieldLabel(field)}: ${shown(field.problem, textChars)}</a></li>`,
        ],
  );
  if (problem === undefined && links.length === 0) return undefined;
  return html`<div class="problems" role="alert" tabindex="-1" autofocus>
<h2>There is a problem</h2>
${problem === undefined ? undefined : html`<p dir="auto">${shown(problem, textChars)}</p>`}
${links.length === 0 ? undefined : html`<ul>${links}</ul>`}
</div>`;
}

/** The application and the server as two sockets, and the cable between them. Decoration: the text says it all. */
function renderPatch({ namespace, server }: SetupForm): Html {
  const icon = iconAddress(server.iconUrl);
  const letter = firstLetter(server.title ?? server.host);
  return html`<div class="patch" aria-hidden="true">
<span class="tile">${firstLetter(namespace)}</span>
${cable}
<span class="tile">${icon ? html`<img src="${icon}" alt="" data-letter="${letter}" width="40" height="40" referrerpolicy="no-referrer">` : letter}</span>
</div>`;
}

function firstLetter(text: string): string {
  const [letter = '·'] = shown(text, nameChars).match(/[\p{L}\p{N}]/u) ?? [];
  return letter.toUpperCase();
}

/** An icon that may be fetched: https, or an image in the address itself (in `<img>`, SVG runs no script). */
function iconAddress(address: string | undefined): string | undefined {
  const url = address === undefined ? null : URL.parse(address);
  const isImage = url?.protocol === 'data:' && /^image\/(png|jpeg|gif|webp|svg\+xml)[;,]/i.test(url.pathname);
  return url?.protocol === 'https:' || isImage ? url.href : undefined;
}

function renderLead({ namespace, server, login }: SetupForm): Html {
  const name = html`<strong><bdi>${shown(namespace, nameChars)}</bdi></strong>`;
  const host = html`<strong>${shownHost(server.host)}</strong>`;
  if (!login) {
    return html`<p class="lead">The application ${name} will be able to use ${host} with what you enter here.</p>`;
  }
  return html`<p class="lead">The application ${name} will be able to use your account at ${host}.</p>
${login.asksForMore ? html`<p>The server wants more than you allowed before.</p>` : undefined}
${login.isAgain && !login.asksForMore ? html`<p>This renews the login from before. The connection stays as it is.</p>` : undefined}`;
}

function renderFields({ fields, askedBy }: SetupForm, takeFocus: boolean): Html | undefined {
  if (fields.length === 0) return undefined;
  return html`<fieldset>
<legend>${askedBy === undefined ? 'What the server needs' : html`<strong>${shownHost(askedBy)}</strong> asks for`}</legend>
${fields.map((field, i) => renderField(field, `field-${i + 1}`, takeFocus && i === 0))}
</fieldset>`;
}

/** The name is anybody's text, so `id` is ours. */
function renderField(field: SetupField, id: string, takeFocus: boolean): Html {
  const { description, problem } = field;
  const describedBy = [
    ...(description === undefined ? [] : [`${id}-description`]),
    ...(problem === undefined ? [] : [`${id}-problem`]),
  ].join(' ');
  return html`<div class="field">
<label for="${id}"><bdi>${fieldLabel(field)}</bdi> <span>${field.isKept ? 'leave empty to keep' : field.required ? 'required' : 'optional'}</span></label>
${description === undefined ? undefined : html`<p class="description" id="${id}-description" dir="auto">${shown(description, textChars)}</p>`}
${problem === undefined ? undefined : html`<p class="problem" id="${id}-problem" dir="auto">${shown(problem, textChars)}</p>`}
<input id="${id}" name="${field.name}" ${
    field.secret ? html`type="password"` : html`type="text" value="${field.value}" autocapitalize="none"`
  } autocomplete="off" spellcheck="false"${field.required ? html` required` : undefined}${
    describedBy === '' ? undefined : html` aria-describedby="${describedBy}"`
  }${problem === undefined ? undefined : html` aria-invalid="true"`}${takeFocus ? html` autofocus` : undefined}>
</div>`;
}

function fieldLabel({ label, name }: SetupField): string {
  return shown(label, nameChars) || shown(name, nameChars);
}

/** The consent, fact by fact (MCP 2026-07-28, security best practices: "confused deputy"). */
function renderTerms({ namespace, connectionName, server, login, returnHost }: SetupForm): Html {
  return html`<section class="terms" aria-labelledby="terms">
<h2 id="terms">What you agree to</h2>
<dl>
<div><dt>Application</dt><dd><strong><bdi>${shown(namespace, nameChars)}</bdi></strong></dd></div>
<div><dt>Server</dt><dd><strong>${shownHost(server.host)}</strong>
${server.title === undefined ? undefined : html`<p>It calls itself “<bdi>${shown(server.title, nameChars)}</bdi>”.</p>`}</dd></div>
<div><dt>Connection</dt><dd><bdi>${shown(connectionName, nameChars)}</bdi></dd></div>
${login ? renderLogin(login) : undefined}
${returnHost === undefined ? undefined : html`<div><dt>Then back to</dt><dd><strong>${shownHost(returnHost)}</strong></dd></div>`}
</dl>
</section>`;
}

function renderLogin({ authorizationServer, scopes }: SetupLogin): Html {
  const listed = scopes.slice(0, scopesListed);
  const more = scopes.length - listed.length;
  return html`<div><dt>You log in at</dt><dd><strong>${shownHost(authorizationServer)}</strong></dd></div>
<div><dt>Scopes</dt><dd>${
    scopes.length === 0
      ? 'No particular scopes'
      : html`<ul class="scopes">
${listed.map((scope) => html`<li><code><bdi>${shown(scope, textChars)}</bdi></code></li>`)}
${more > 0 ? html`<li>and ${String(more)} more</li>` : undefined}
</ul>`
  }</dd></div>`;
}
