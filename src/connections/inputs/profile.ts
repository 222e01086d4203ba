import type { Limits } from '../../platform/limits.ts';
import { cleanText, readableName } from './field-text.ts';
import { type InputPlace, isReservedSource, isSendable, placeKey } from './place.ts';

/** One value that a connection needs of its user. */
export interface InputField {
  /** Where the connection holds the value, and the API names it. */
  from: InputPlace;
  /** Where the upstream gets it. */
  to: InputPlace;
  label: string;
  description?: string;
  required: boolean;
  /** Not to be seen while it is typed. */
  secret: boolean;
}

/** The inputs of a connection. No two fields share a place, neither at `from` nor at `to`. */
export interface CredentialProfile {
  /** The host that asks for them; people are told. */
  askedBy: string;
  fields: InputField[];
}

export type InputLimits = Pick<
  Limits,
  'inputsPerConnection' | 'inputNesting' | 'inputNameChars' | 'inputLabelChars' | 'inputDescriptionChars'
>;

/**
 * The inputs that a JSON Schema asks for, as `/.well-known/mcp-config` and a registry entry's `configSchema` have
 * it (api.md §4, configSchema transport). Properties are strings, numbers or booleans, `x-from` says where their
 * values come from (by default the query, under the property's name), `x-to` where they go (by default the same
 * place). Properties of nested objects are named with dots, `a.b`.
 *
 * The schema is untrusted: a property that asks for a reserved header, names no usable place, or a place that an
 * earlier one has, is left out, and so is what exceeds the limits. Undefined when nothing is left.
 */
export function profileFromConfigSchema(
  schema: unknown,
  askedBy: string,
  limits: InputLimits,
): CredentialProfile | undefined {
  return profileOf(askedBy, readProperties(schema, [], true, limits), limits);
}

/** The profile of the first fields that have their places for themselves; undefined when there are none. */
export function profileOf(
  askedBy: string,
  fields: Iterable<InputField>,
  limits: InputLimits,
): CredentialProfile | undefined {
  const kept: InputField[] = [];
  const taken = new Set<string>();
  for (const field of fields) {
    if (kept.length === limits.inputsPerConnection) break;
    const places = [`from ${placeKey(field.from)}`, `to ${placeKey(field.to)}`];
    if (places.some((place) => taken.has(place))) continue;
    for (const place of places) taken.add(place);
    kept.push(field);
  }
  return kept.length === 0 ? undefined : { askedBy, fields: kept };
}

/** A field with its texts cleaned; `name` stands in for a label that is missing. */
export function inputField(
  given: Omit<InputField, 'label' | 'description'> & { name: string; label: unknown; description: unknown },
  limits: InputLimits,
): InputField {
  const { name, label, description, ...rest } = given;
  const clean = (value: unknown) => cleanText(value, limits.inputLabelChars);
  const shown = clean(name) || clean(rest.from.name);
  // All that can be seen of a name may be what `readableName` takes for a gap between words.
  const field: InputField = { ...rest, label: clean(label) || clean(readableName(shown)) || shown };
  const text = cleanText(description, limits.inputDescriptionChars);
  if (text !== '') field.description = text;
  return field;
}

/** The members of a JSON object; none for anything else. */
export function membersOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function* readProperties(
  schema: unknown,
  parents: readonly string[],
  isRequired: boolean,
  limits: InputLimits,
): Generator<InputField> {
  const { type, properties, required } = membersOf(schema);
  if ((type !== undefined && type !== 'object') || parents.length === limits.inputNesting) return;
  for (const [name, property] of Object.entries(membersOf(properties))) {
    const path = [...parents, name];
    // What stands in an object that may be missing may be missing too.
    const mustBe = isRequired && Array.isArray(required) && required.includes(name);
    if (membersOf(property).type === 'object') {
      yield* readProperties(property, path, mustBe, limits);
    } else {
      const field = readProperty(membersOf(property), path, mustBe, limits);
      if (field) yield field;
    }
  }
}

const fieldTypes: readonly unknown[] = ['string', 'number', 'integer', 'boolean'];

function readProperty(
  property: Record<string, unknown>,
  path: readonly string[],
  isRequired: boolean,
  limits: InputLimits,
): InputField | undefined {
  const { type, title, description, format, writeOnly } = property;
  if (!fieldTypes.includes(type)) return undefined;
  const from = readPlace(property['x-from'], { kind: 'query', name: path.join('.') });
  if (!from || !isSendable(from, limits.inputNameChars) || isReservedSource(from)) return undefined;
  const to = readPlace(property['x-to'], from);
  if (!to || !isSendable(to, limits.inputNameChars)) return undefined;
  return inputField(
    {
      from,
      to,
      name: path.join('.'),
      label: title,
      description,
      // zod lists a property with a default as required; the server fills it in by itself.
      required: isRequired && property.default === undefined,
      secret: format === 'password' || writeOnly === true || [from.kind, to.kind].includes('header'),
    },
    limits,
  );
}

/** `{header: name}` or `{query: name}`; `fallback` when absent, undefined when it is neither or both. */
function readPlace(given: unknown, fallback: InputPlace): InputPlace | undefined {
  if (given === undefined) return fallback;
  const { header, query } = membersOf(given);
  if (typeof header === 'string' && query === undefined) return { kind: 'header', name: header };
  if (typeof query === 'string' && header === undefined) return { kind: 'query', name: query };
  return undefined;
}
