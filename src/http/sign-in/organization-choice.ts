import type { Organization } from '../../identity/organizations.ts';
import { type Html, html, nameChars, shown } from '../pages/page.ts';

/** The field `organization` of a form: one of several, of which `chosen` is chosen. */
export function organizationChoice(organizations: readonly Organization[], chosen: string | undefined): Html {
  return html`<div class="field">
<label for="organization">Organization</label>
<select id="organization" name="organization">
${organizations.map(
  ({ id, name, role }) =>
    html`<option value="${id}"${id === chosen ? html` selected` : undefined}>${shown(name, nameChars)} (${role})</option>`,
)}
</select>
</div>`;
}
