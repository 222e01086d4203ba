import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { headerProblem } from '../../mcp/headers.ts';
import { statusSchema } from '../status.ts';
import { httpInputs, missingInputs } from './missing.ts';
import type { InputPlace } from './place.ts';
import type { CredentialProfile, InputField } from './profile.ts';

const header = (name: string): InputPlace => ({ kind: 'header', name });
const query = (name: string): InputPlace => ({ kind: 'query', name });
const field = (from: InputPlace, more: Partial<InputField> = {}): InputField => ({
  from,
  to: from,
  label: from.name,
  required: true,
  secret: false,
  ...more,
});
const profileOf = (...fields: InputField[]): CredentialProfile => ({ askedBy: 'mcp.example.com', fields });
const url = 'https://mcp.example.com/mcp';

describe('httpInputs', () => {
  const profile = profileOf(
    field(header('X-Key'), { label: 'Key', description: 'Your key', to: header('authorization') }),
    field(query('region'), { required: false }),
  );

  test('has the shape of the API, by the names that callers use', () => {
    expect(httpInputs(profile)).toEqual({
      headers: { 'X-Key': { label: 'Key', description: 'Your key', required: true } },
      query: { region: { label: 'region', required: false } },
    });
    const status = {
      state: 'input_required',
      http: httpInputs(profile),
      missing: missingInputs(profile, {}, url),
    };
    expect(statusSchema.parse(status)).toEqual(status);
  });

  test('leaves out the kind that has no fields', () => {
    expect(Object.keys(httpInputs(profileOf(field(header('a')))))).toEqual(['headers']);
    expect(Object.keys(httpInputs(profileOf(field(query('a')))))).toEqual(['query']);
  });
});

describe('missingInputs', () => {
  const profile = profileOf(
    field(header('X-Key')),
    field(query('region')),
    field(query('mode'), { required: false }),
    field(header('X-Org'), { required: false }),
  );

  test('names what is required and has no value', () => {
    expect(missingInputs(profile, {}, url)).toEqual({ headers: ['X-Key'], query: ['region'] });
    expect(missingInputs(profile, { 'x-key': 'k' }, `${url}?region=eu`)).toEqual({ headers: [], query: [] });
  });

  test.each(['', ' ', '\t'])('a value of %j is none', (value) => {
    expect(missingInputs(profile, { 'x-key': value }, `${url}?region=${encodeURIComponent(value)}`)).toEqual({
      headers: ['X-Key'],
      query: ['region'],
    });
  });

  test('names of parameters have a case, and a header is no parameter', () => {
    expect(missingInputs(profile, { region: 'eu' }, `${url}?Region=eu&X-Key=k`)).toEqual({
      headers: ['X-Key'],
      query: ['region'],
    });
  });

  test('a value that its header cannot carry is none', () => {
    const moved = profileOf(field(query('key'), { to: header('x-key') }));
    expect(missingInputs(moved, {}, `${url}?key=a%0d%0ab`)).toEqual({ headers: [], query: ['key'] });
    expect(missingInputs(moved, {}, `${url}?key=ab`)).toEqual({ headers: [], query: [] });
  });

  test('exactly what was not given is missing', () => {
    // A header that no connection may set is missing whatever is given.
    const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,8}$/).filter((given) => !headerProblem(given, ''));
    const names = fc.uniqueArray(name, { maxLength: 6 });
    const text = fc.stringMatching(/^[!-~]{1,10}$/);
    fc.assert(
      fc.property(
        names,
        names,
        fc.func(fc.option(text, { nil: undefined })),
        (headers, parameters, given) => {
          const all = profileOf(
            ...headers.map((n) => field(header(n))),
            ...parameters.map((n) => field(query(n))),
          );
          const sent: Record<string, string> = {};
          const target = new URL(url);
          for (const name of headers) {
            const value = given('header', name);
            if (value !== undefined) sent[name.toUpperCase()] = value;
          }
          for (const name of parameters) {
            const value = given('query', name);
            if (value !== undefined) target.searchParams.set(name, value);
          }
          expect(missingInputs(all, sent, target.href)).toEqual({
            headers: headers.filter((name) => given('header', name) === undefined),
            query: parameters.filter((name) => given('query', name) === undefined),
          });
        },
      ),
    );
  });
});
