import type { Status } from '../status.ts';
import type { InputPlace } from './place.ts';
import type { CredentialProfile } from './profile.ts';
import { inputValue } from './values.ts';

type InputRequired = Extract<Status, { state: 'input_required' }>;

/** The profile in the API's shape, `status.http` of `input_required` (seed: CredentialProfileHttp). */
export function httpInputs({ fields }: CredentialProfile): InputRequired['http'] {
  const inputsOf = (kind: InputPlace['kind']) =>
    fields
      .filter(({ from }) => from.kind === kind)
      .map(
        ({ from, label, description, required }) =>
          [from.name, { label, ...(description !== undefined && { description }), required }] as const,
      );
  const [headers, query] = [inputsOf('header'), inputsOf('query')];
  return {
    ...(headers.length > 0 && { headers: Object.fromEntries(headers) }),
    ...(query.length > 0 && { query: Object.fromEntries(query) }),
  };
}

/**
 * The names of the required inputs that have no value yet, in the order of the profile. A blank value is none,
 * nor is one that the header it goes to cannot carry. Header names compare without case (RFC 9110 §5.1).
 */
export function missingInputs(
  { fields }: CredentialProfile,
  headers: Record<string, string>,
  mcpUrl: string,
): InputRequired['missing'] {
  const missing = fields
    .filter((field) => field.required && inputValue(field, { headers, mcpUrl }) === undefined)
    .map(({ from }) => from);
  const namesOf = (kind: InputPlace['kind']) =>
    missing.filter((place) => place.kind === kind).map(({ name }) => name);
  return { headers: namesOf('header'), query: namesOf('query') };
}
