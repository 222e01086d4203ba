import { isReservedSource, isSendable } from './place.ts';
import {
  type CredentialProfile,
  type InputField,
  type InputLimits,
  inputField,
  membersOf,
  profileOf,
} from './profile.ts';

/**
 * The inputs that an entry of `remotes[]` in a server.json asks for (official MCP registry, schema 2025-12-11;
 * mcp.md §10.1): its `headers`, and those `variables` that are the whole value of a query parameter in `url`.
 *
 * A header whose `value` has `{variables}` is asked for whole, and its form is told. Left out: headers and
 * variables with a fixed value, which are no inputs; variables in the host, in the path, or in a part of a query
 * value; and `default`, `choices`, `format` and `placeholder`. Reserved headers are refused as in a config schema,
 * but for `Authorization`: here it is the upstream's own, where its key goes.
 * Undefined when nothing is left.
 */
export function profileFromServerJson(
  remote: unknown,
  askedBy: string,
  limits: InputLimits,
): CredentialProfile | undefined {
  return profileOf(askedBy, readInputs(membersOf(remote), limits), limits);
}

function* readInputs(remote: Record<string, unknown>, limits: InputLimits): Generator<InputField> {
  for (const header of Array.isArray(remote.headers) ? remote.headers : []) {
    const field = readHeader(membersOf(header), limits);
    if (field) yield field;
  }
  if (typeof remote.url !== 'string') return;
  const variables = membersOf(remote.variables);
  // Not parsed as a URL: a template may have braces in its host.
  const query = /^[^?#]*\?([^#]*)/.exec(remote.url)?.[1] ?? '';
  for (const [name, value] of new URLSearchParams(`&${query}`)) {
    const variable = /^\{([^{}]+)\}$/.exec(value)?.[1];
    if (variable === undefined || !Object.hasOwn(variables, variable)) continue;
    const field = readVariable(name, variable, membersOf(variables[variable]), limits);
    if (field) yield field;
  }
}

function readHeader(given: Record<string, unknown>, limits: InputLimits): InputField | undefined {
  const { name, value, description } = given;
  const isTemplate = typeof value === 'string' && /\{[^{}]+\}/.test(value);
  if (typeof name !== 'string' || (value !== undefined && !isTemplate)) return undefined;
  const place = { kind: 'header' as const, name };
  const isRefused = isReservedSource(place) && name.toLowerCase() !== 'authorization';
  if (!isSendable(place, limits.inputNameChars) || isRefused) return undefined;
  const form = isTemplate ? `Form: ${value}` : '';
  return inputField(
    {
      from: place,
      to: place,
      name,
      label: undefined,
      description: typeof description === 'string' ? `${description} ${form}` : form,
      required: [given, ...Object.values(membersOf(given.variables))].some(isRequired),
      secret: true,
    },
    limits,
  );
}

function readVariable(
  parameter: string,
  variable: string,
  given: Record<string, unknown>,
  limits: InputLimits,
): InputField | undefined {
  const place = { kind: 'query' as const, name: parameter };
  if (given.value !== undefined || !isSendable(place, limits.inputNameChars)) return undefined;
  return inputField(
    {
      from: place,
      to: place,
      name: variable,
      label: undefined,
      description: given.description,
      required: isRequired(given),
      secret: given.isSecret === true,
    },
    limits,
  );
}

function isRequired(input: unknown): boolean {
  return membersOf(input).isRequired === true;
}
