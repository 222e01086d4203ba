import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultLimits as limits } from '../../platform/limits.ts';
import { profileFromServerJson } from './server-json.ts';

const read = (remote: unknown) => profileFromServerJson(remote, 'mcp.example.com', limits);
const sourcesOf = (remote: unknown) => read(remote)?.fields.map(({ from }) => from.name) ?? [];
const url = 'https://mcp.example.com/mcp';

describe('profileFromServerJson', () => {
  test('asks for the headers of an entry', () => {
    const remote = {
      type: 'streamable-http',
      url,
      headers: [
        { name: 'X-API-Key', description: 'API key for authentication', isRequired: true, isSecret: true },
        { name: 'X-Region' },
      ],
    };
    const key = { kind: 'header', name: 'X-API-Key' };
    const region = { kind: 'header', name: 'X-Region' };
    expect(read(remote)).toEqual({
      askedBy: 'mcp.example.com',
      fields: [
        {
          from: key,
          to: key,
          label: 'API key',
          description: 'API key for authentication',
          required: true,
          secret: true,
        },
        { from: region, to: region, label: 'Region', required: false, secret: true },
      ],
    });
  });

  test('asks whole for a header with variables, and tells its form', () => {
    const header = {
      name: 'Authorization',
      value: 'Bearer {api_key}',
      variables: { api_key: { isRequired: true } },
    };
    const [field] = read({ url, headers: [header] })?.fields ?? [];
    expect(field).toMatchObject({ description: 'Form: Bearer {api_key}', required: true });
  });

  test('does not ask for headers with a fixed value, nor for reserved ones', () => {
    const headers = [
      { name: 'X-Client', value: 'mcp' },
      { name: 'X-Odd', value: 7 },
      { name: 'Cookie' },
      { name: 'cf-ray' },
      { name: 'smithery-key' },
      { name: 'mcp-session-id' },
      { name: 'Host' },
      { name: 'content-type' },
      { name: '__proto__' },
      { name: 5 },
      null,
    ];
    expect(read({ url, headers })).toBeUndefined();
  });

  test('asks for variables that are a whole query value, and for no others', () => {
    const remote = {
      url: 'https://{tenant}.example.com/{path}/mcp?key={api_key}&fixed=1&part=a-{region}&mode={mode}&who={unknown}&set={set}#{tenant}',
      variables: {
        tenant: { isRequired: true },
        path: {},
        api_key: { description: 'Your key', isRequired: true, isSecret: true },
        region: {},
        mode: {},
        set: { value: 'x' },
      },
    };
    const key = { kind: 'query', name: 'key' };
    const mode = { kind: 'query', name: 'mode' };
    expect(read(remote)?.fields).toEqual([
      { from: key, to: key, label: 'Api key', description: 'Your key', required: true, secret: true },
      { from: mode, to: mode, label: 'Mode', required: false, secret: false },
    ]);
  });

  test('a variable is looked up among the given ones only', () => {
    expect(read({ url: `${url}?a={constructor}&b={toString}`, variables: {} })).toBeUndefined();
  });

  test('asks once for what is named twice', () => {
    expect(sourcesOf({ url, headers: [{ name: 'X-A' }, { name: 'x-a' }, { name: 'X-B' }] })).toEqual([
      'X-A',
      'X-B',
    ]);
  });

  test('never throws', () => {
    const text = fc.oneof(fc.string(), fc.constantFrom('https://h/?a={a}', '{a}', 'x-a'));
    const input = fc.record({
      name: text,
      value: fc.option(text, { nil: undefined }),
      description: fc.jsonValue(),
    });
    const remote = fc.oneof(
      fc.jsonValue(),
      fc.record({
        url: text,
        headers: fc.oneof(fc.jsonValue(), fc.array(input)),
        variables: fc.oneof(fc.jsonValue(), fc.dictionary(text, input)),
      }),
    );
    fc.assert(
      fc.property(remote, (value) => {
        const profile = read(value);
        if (profile) expect(profile.fields.length).toBeGreaterThan(0);
      }),
    );
  });
});
