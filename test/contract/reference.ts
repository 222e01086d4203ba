import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';

/** The document of the vendor, if this run has it: not ours to keep in the repository. */
const documentPath = process.env.PATCHBAY_REFERENCE_OPENAPI;

export const hasReference = documentPath !== undefined && documentPath !== '';

interface Reference {
  document: { paths: Record<string, Record<string, { responses?: Record<string, { content?: object }> }>> };
  compile: (pointer: string) => ValidateFunction;
}

let loaded: Reference | undefined;

function load(): Reference {
  if (loaded) return loaded;
  const document = withoutDraft4Ids(JSON.parse(readFileSync(resolve(documentPath as string), 'utf8')));
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false });
  formats.default(ajv);
  ajv.addSchema(document as object, 'reference');
  const compiled = new Map<string, ValidateFunction>();
  const compile = (pointer: string) => {
    let validate = compiled.get(pointer);
    if (!validate) {
      validate = ajv.compile({ $ref: `reference#${pointer}` });
      compiled.set(pointer, validate);
    }
    return validate;
  };
  loaded = { document: document as Reference['document'], compile };
  return loaded;
}

/** The list without a query is older than the document, which describes the search only. */
const undocumentedShapes: Record<string, (body: unknown) => string | undefined> = {
  'GET /namespaces 200': (body) =>
    (body as { pagination?: unknown } | null)?.pagination === undefined
      ? '/components/schemas/NamespacesResponse'
      : undefined,
};

/**
 * `_meta` beside the tools is the protocol's place for what a result says of itself: the names of tools in
 * quarantine, which the document does not know, stand there.
 */
const metaBesideTools = 'GET /connect/{namespace}/{connectionId}/.tools 200';

function documentedPart(answer: string, body: unknown): unknown {
  if (answer !== metaBesideTools || typeof body !== 'object' || body === null) return body;
  const { _meta, ...documented } = body as { _meta?: unknown };
  return documented;
}

/**
 * Why `body` is not what the reference document promises for `METHOD /path` and status; undefined if it is, or
 * if the document says nothing about that answer, or is not there.
 */
export function referenceBreach(route: string, status: number, body: unknown): string | undefined {
  if (!hasReference) return undefined;
  const { document, compile } = load();
  const [method = '', path = ''] = route.split(' ');
  const content = document.paths[path]?.[method.toLowerCase()]?.responses?.[status]?.content;
  if (!content || !('application/json' in content)) return undefined;
  const documented = [
    'paths',
    path,
    method.toLowerCase(),
    'responses',
    String(status),
    'content',
    'application/json',
    'schema',
  ];
  const pointer =
    undocumentedShapes[`${route} ${status}`]?.(body) ?? `/${documented.map(escapePart).join('/')}`;
  const validate = compile(pointer);
  if (validate(documentedPart(`${route} ${status}`, body))) return undefined;
  const problems = validate.errors?.map(({ instancePath, message }) => `${instancePath || '/'} ${message}`);
  return `the reference document: ${problems?.join('; ')}`;
}

/** A part of a JSON pointer in a URI fragment (RFC 6901 §6). */
function escapePart(part: string): string {
  return encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));
}

/** Ajv refuses the old `id` keyword, which the document has as a label beside its schemas. */
function withoutDraft4Ids(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDraft4Ids);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => key !== 'id' || typeof inner !== 'string')
      .map(([key, inner]) => [key, withoutDraft4Ids(inner)]),
  );
}
