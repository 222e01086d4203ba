import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultLimits as limits } from '../../platform/limits.ts';
import { type InputField, profileFromConfigSchema } from './profile.ts';

const schemaOf = (properties: Record<string, unknown>, required: string[] = []) => ({
  type: 'object',
  properties,
  required,
});

function fieldsOf(schema: unknown, more: Partial<typeof limits> = {}): InputField[] {
  return profileFromConfigSchema(schema, 'mcp.example.com', { ...limits, ...more })?.fields ?? [];
}

/** The one field of a schema with the one property `p`. */
function fieldOf(property: Record<string, unknown>): InputField | undefined {
  return fieldsOf(schemaOf({ p: { type: 'string', ...property } }))[0];
}

describe('profileFromConfigSchema', () => {
  test('reads a schema as servers publish it', () => {
    const schema = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: '/.well-known/mcp-config',
      'x-query-style': 'dot+bracket',
      ...schemaOf(
        {
          apiKey: {
            type: 'string',
            title: 'API key',
            description: 'From your account page.',
            'x-from': { header: 'posthog-api-key' },
            'x-to': { header: 'Authorization' },
          },
          region: { type: 'string' },
          debug: { type: 'boolean', title: 'Debug' },
        },
        ['apiKey'],
      ),
    };
    expect(profileFromConfigSchema(schema, 'mcp.example.com', limits)).toEqual({
      askedBy: 'mcp.example.com',
      fields: [
        {
          from: { kind: 'header', name: 'posthog-api-key' },
          to: { kind: 'header', name: 'Authorization' },
          label: 'API key',
          description: 'From your account page.',
          required: true,
          secret: true,
        },
        {
          from: { kind: 'query', name: 'region' },
          to: { kind: 'query', name: 'region' },
          label: 'Region',
          required: false,
          secret: false,
        },
        {
          from: { kind: 'query', name: 'debug' },
          to: { kind: 'query', name: 'debug' },
          label: 'Debug',
          required: false,
          secret: false,
        },
      ],
    });
  });

  test.each([
    [undefined],
    [null],
    ['text'],
    [[]],
    [{}],
    [{ message: 'No configuration schema available' }],
    [{ type: 'object', properties: {} }],
    [{ type: 'object', properties: ['a'] }],
    [{ type: 'array', properties: { a: { type: 'string' } } }],
    [schemaOf({ a: true, b: null, c: { type: 'array' }, d: { type: ['string', 'null'] }, e: {} })],
  ])('%j asks for nothing', (schema) => {
    expect(profileFromConfigSchema(schema, 'mcp.example.com', limits)).toBeUndefined();
  });

  test.each(['string', 'number', 'integer', 'boolean'])('takes properties of type %s', (type) => {
    expect(fieldOf({ type })).toBeDefined();
  });

  test.each([
    'Authorization',
    'cookie',
    'cf-connecting-ip',
    'Smithery-Key',
    'mcp-session-id',
    'mcp-param-x',
    'host',
    'connection',
    'transfer-encoding',
    'content-length',
    'content-type',
    'accept',
    'not a name',
    'x\r\ny',
    '',
    '__proto__',
  ])('leaves out only the field that wants its value from header %j', (header) => {
    const schema = schemaOf({ bad: { type: 'string', 'x-from': { header } }, good: { type: 'string' } });
    expect(fieldsOf(schema).map(({ from }) => from)).toEqual([{ kind: 'query', name: 'good' }]);
  });

  test.each([
    ['header'],
    [null],
    [{}],
    [{ header: 1 }],
    [{ header: 'a', query: 'a' }],
    [{ cookie: 'a' }],
    [[]],
  ])('leaves out a field with x-from or x-to %j rather than guess its place', (place) => {
    expect(fieldOf({ 'x-from': place })).toBeUndefined();
    expect(fieldOf({ 'x-to': place })).toBeUndefined();
  });

  test('lets x-to name any header but those of the transport', () => {
    expect(fieldOf({ 'x-to': { header: 'authorization' } })?.to).toEqual({
      kind: 'header',
      name: 'authorization',
    });
    expect(fieldOf({ 'x-to': { header: 'cookie' } })).toBeDefined();
    expect(fieldOf({ 'x-to': { header: 'host' } })).toBeUndefined();
    expect(fieldOf({ 'x-to': { header: 'mcp-session-id' } })).toBeUndefined();
  });

  test('keeps secret what is a password, write-only, or goes through a header', () => {
    expect(fieldOf({})?.secret).toBe(false);
    expect(fieldOf({ format: 'password' })?.secret).toBe(true);
    expect(fieldOf({ writeOnly: true })?.secret).toBe(true);
    expect(fieldOf({ 'x-from': { header: 'x-a' } })?.secret).toBe(true);
    expect(fieldOf({ 'x-to': { header: 'x-a' } })?.secret).toBe(true);
  });

  test('does not require what has a default, although zod lists it as required', () => {
    const [model, key] = fieldsOf(
      schemaOf({ model: { type: 'string', default: 'small' }, key: { type: 'string' } }, ['model', 'key']),
    );
    expect(model?.required).toBe(false);
    expect(key?.required).toBe(true);
  });

  test('cleans and cuts texts, and writes a label where there is none to see', () => {
    expect(fieldOf({ title: 'Key\u0000\n\u202eend' })?.label).toBe('Key end');
    expect(fieldOf({ title: '\u200b' })?.label).toBe('P');
    expect(fieldOf({ title: 'x'.repeat(9999) })?.label).toHaveLength(limits.inputLabelChars);
    expect(fieldOf({ description: 'x'.repeat(9999) })?.description).toHaveLength(
      limits.inputDescriptionChars,
    );
    expect(fieldOf({ description: '\u0007' })).not.toHaveProperty('description');
    expect(fieldsOf(schemaOf({ '\u0007': { type: 'string', 'x-from': { query: 'k' } } }))[0]?.label).toBe(
      'K',
    );
  });

  test('names properties of nested objects with dots, to the limit of depth', () => {
    const nested = (depth: number): unknown =>
      depth === 0 ? { type: 'string' } : schemaOf({ a: nested(depth - 1) });
    const names = (depth: number) => fieldsOf(nested(depth)).map(({ from }) => from.name);
    expect(names(1)).toEqual(['a']);
    expect(names(4)).toEqual(['a.a.a.a']);
    expect(names(5)).toEqual([]);
  });

  test('requires a nested property only when everything around it is required', () => {
    const inner = schemaOf({ a: { type: 'string' }, b: { type: 'string' } }, ['a']);
    const required = (schema: unknown) => fieldsOf(schema).map((field) => field.required);
    expect(required(schemaOf({ o: inner }, ['o']))).toEqual([true, false]);
    expect(required(schemaOf({ o: inner }))).toEqual([false, false]);
  });

  test('gives a place to the first field that names it', () => {
    const fields = fieldsOf(
      schemaOf({
        first: { type: 'string', 'x-from': { header: 'X-Key' } },
        sameSource: { type: 'string', 'x-from': { header: 'x-key' }, 'x-to': { query: 'k' } },
        sameTarget: { type: 'string', 'x-to': { header: 'x-KEY' } },
        other: { type: 'string', 'x-from': { query: 'x-key' } },
      }),
    );
    expect(fields.map(({ from }) => from)).toEqual([
      { kind: 'header', name: 'X-Key' },
      { kind: 'query', name: 'x-key' },
    ]);
  });

  test('keeps as many fields as the limit says', () => {
    const properties = Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [`p${i}`, { type: 'string' }]),
    );
    expect(fieldsOf(schemaOf(properties))).toHaveLength(20);
    expect(fieldsOf(schemaOf(properties), { inputsPerConnection: 3 }).map(({ from }) => from.name)).toEqual([
      'p0',
      'p1',
      'p2',
    ]);
  });

  test('names that reach prototypes are not asked for, and change nothing', () => {
    const schema = JSON.parse(
      '{"properties": {"__proto__": {"type": "string"}, "o": {"type": "object", "properties": {"__proto__": {"type": "string"}}}, "constructor": {"type": "string"}}}',
    );
    expect(fieldsOf(schema).map(({ from }) => from.name)).toEqual(['constructor']);
    expect(Object.hasOwn(Object.prototype, 'type')).toBe(false);
  });

  describe('of whatever a server may answer', () => {
    const place = fc.oneof(
      fc.record({ header: fc.oneof(fc.string(), fc.constantFrom('x-key', 'cookie', 'CF-x', 'Host')) }),
      fc.record({ query: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('k', '__proto__')) }),
      fc.jsonValue(),
    );
    const property = fc.record(
      {
        type: fc.constantFrom('string', 'number', 'boolean', 'object', 'array', 3),
        title: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()),
        description: fc.string({ unit: 'binary' }),
        properties: fc.dictionary(fc.string(), fc.constant({ type: 'string' })),
        required: fc.jsonValue(),
        'x-from': place,
        'x-to': place,
      },
      { requiredKeys: ['type'] },
    );
    const schema = fc.oneof(
      fc.jsonValue(),
      fc.record({
        properties: fc.dictionary(
          fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('__proto__', 'constructor')),
          fc.oneof({ weight: 5, arbitrary: property }, { weight: 1, arbitrary: fc.jsonValue() }),
        ),
        required: fc.oneof(fc.array(fc.string()), fc.jsonValue()),
      }),
    );

    test('a name with nothing to see but a gap is its own label', () => {
      const name = '\u{2EE5E}_';
      const fields = fieldsOf({ properties: { [name]: { type: 'string', 'x-from': { header: 'x-key' } } } });
      expect(fields).toMatchObject([{ label: name }]);
    });

    test('every field has valid places of its own and a label that can be seen', () => {
      fc.assert(
        fc.property(schema, (value) => {
          const fields = fieldsOf(value);
          for (const { from, to, label } of fields) {
            for (const { kind, name } of [from, to]) {
              if (kind === 'header') {
                const request = new Headers([[name, 'v']]);
                expect([...request.keys()]).toEqual([name.toLowerCase()]);
                expect(name).not.toMatch(/^(host|connection|content-.*|te|transfer-encoding|mcp-param-.*)$/i);
              } else {
                const url = new URL('https://h/');
                url.searchParams.set(name, 'v');
                expect([...new URL(url.href).searchParams.keys()]).toEqual([name]);
              }
              expect(name).not.toContain('__proto__');
            }
            if (from.kind === 'header')
              expect(from.name).not.toMatch(/^(authorization|cookie|cf-.*|smithery-.*|mcp-.*)$/i);
            expect(label).toMatch(/[^\s\p{C}]/u);
          }
          const sources = fields.map(({ from }) => `${from.kind} ${from.name}`);
          expect(new Set(sources).size).toBe(fields.length);
          expect(fields.length).toBeLessThanOrEqual(limits.inputsPerConnection);
        }),
        { numRuns: 500 },
      );
    });
  });
});
