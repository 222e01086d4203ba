import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyInputs } from './apply.ts';
import { type InputPlace, placeKey } from './place.ts';
import type { CredentialProfile } from './profile.ts';

const header = (name: string): InputPlace => ({ kind: 'header', name });
const query = (name: string): InputPlace => ({ kind: 'query', name });
const profileOf = (...moves: [from: InputPlace, to: InputPlace][]): CredentialProfile => ({
  askedBy: 'mcp.example.com',
  fields: moves.map(([from, to]) => ({ from, to, label: from.name, required: false, secret: false })),
});
const url = 'https://mcp.example.com/mcp';

describe('applyInputs', () => {
  test('moves a value to where the upstream wants it', () => {
    const profile = profileOf(
      [header('posthog-api-key'), header('Authorization')],
      [query('region'), header('x-region')],
      [header('x-team'), query('team')],
      [query('mode'), query('m')],
    );
    expect(
      applyInputs(
        profile,
        { 'PostHog-API-Key': 'phc', 'x-team': 'a b&c', other: 'o' },
        `${url}?region=eu&mode=x&z=1`,
      ),
    ).toEqual({
      headers: { other: 'o', Authorization: 'phc', 'x-region': 'eu' },
      mcpUrl: `${url}?z=1&team=a+b%26c&m=x`,
    });
  });

  test('changes nothing without a profile, or where nothing moves', () => {
    const headers = { 'X-Key': 'k', 'X-Empty': '' };
    const mcpUrl = `${url}?a=%20&a&b=1&&=`;
    const same = profileOf([header('x-key'), header('X-KEY')], [query('a'), query('a')]);
    expect(applyInputs(undefined, headers, mcpUrl)).toEqual({ headers, mcpUrl });
    expect(applyInputs(same, headers, mcpUrl)).toEqual({ headers, mcpUrl });
  });

  test('takes the place of what stood at the target', () => {
    const profile = profileOf([header('x-key'), header('authorization')], [query('k'), query('key')]);
    expect(
      applyInputs(profile, { Authorization: 'old', 'x-key': 'new' }, `${url}?key=1&k=new&key=2`),
    ).toEqual({ headers: { authorization: 'new' }, mcpUrl: `${url}?key=new` });
  });

  test('without a value it leaves the target alone', () => {
    const profile = profileOf([header('x-key'), header('authorization')], [query('k'), query('key')]);
    const { headers, mcpUrl } = applyInputs(
      profile,
      { Authorization: 'own', 'x-key': ' ' },
      `${url}?key=own&k=`,
    );
    expect({ headers, mcpUrl }).toEqual({ headers: { Authorization: 'own' }, mcpUrl: `${url}?key=own` });
  });

  test('lets two fields swap their places', () => {
    const profile = profileOf([header('a'), header('b')], [header('b'), header('a')]);
    expect(applyInputs(profile, { a: '1', b: '2' }, url).headers).toEqual({ a: '2', b: '1' });
  });

  test('a value cannot break out of its header or of its parameter', () => {
    const profile = profileOf([query('k'), header('x-key')], [header('x-team'), query('team')]);
    expect(applyInputs(profile, { 'x-team': 'a&admin=1#f' }, `${url}?k=a%0d%0ahost:%20evil`)).toEqual({
      headers: {},
      mcpUrl: `${url}?team=a%26admin%3D1%23f`,
    });
  });

  test('takes a parameter for what its server reads in it, however it is written', () => {
    const profile = profileOf([query('a b'), query('c')], [query('?x'), query('y')]);
    expect(applyInputs(profile, {}, `${url}??x=1&a+b=2&a%20b=3&%61=4`).mcpUrl).toBe(`${url}?%61=4&c=2&y=1`);
  });

  test('a header __proto__ of the caller stays what it is', () => {
    const profile = profileOf([query('k'), header('x-key')]);
    const headers = JSON.parse('{"__proto__": "own"}');
    const sent = applyInputs(profile, headers, `${url}?k=1`);
    expect(Object.entries(sent.headers)).toEqual([
      ['__proto__', 'own'],
      ['x-key', '1'],
    ]);
  });

  describe('for any profile and any values', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'X-A', 'x.y');
    const place = fc.oneof(name.map(header), name.map(query));
    const profile = fc
      .uniqueArray(fc.tuple(place, place), { selector: ([from]) => placeKey(from), maxLength: 6 })
      .map((moves) =>
        moves.filter(([, to], i) => moves.findIndex(([, t]) => placeKey(t) === placeKey(to)) === i),
      )
      .map((moves) => profileOf(...moves));
    const headers = fc.dictionary(
      fc.constantFrom('a', 'B', 'c', 'x-a', 'other', 'Other-2'),
      fc.stringMatching(/^[ -~]{0,8}$/),
    );
    const mcpUrl = fc
      .array(
        fc.tuple(fc.constantFrom('a', 'b', 'd', 'x.y', 'other', '%20', 'é'), fc.string({ maxLength: 5 })),
      )
      .map(
        (pairs) =>
          `${url}${pairs.length === 0 ? '' : '?'}${pairs.map(([n, v]) => `${n}=${encodeURIComponent(v.toWellFormed())}`).join('&')}`,
      )
      .map((text) => new URL(text).href);

    test('nothing but the named places changes', () => {
      fc.assert(
        fc.property(profile, headers, mcpUrl, (inputs, given, from) => {
          const named = new Set(inputs.fields.flatMap((field) => [placeKey(field.from), placeKey(field.to)]));
          const unnamed = (sent: { headers: Record<string, string>; mcpUrl: string }) => ({
            headers: Object.entries(sent.headers).filter(([n]) => !named.has(placeKey(header(n)))),
            query: new URL(sent.mcpUrl).search
              .slice(1)
              .split('&')
              .filter(
                (pair) => ![...new URLSearchParams(pair).keys()].some((n) => named.has(placeKey(query(n)))),
              )
              .filter((pair) => pair !== ''),
            rest: sent.mcpUrl.split('?')[0],
          });
          const before = structuredClone(given);
          expect(unnamed(applyInputs(inputs, given, from))).toEqual(
            unnamed({ headers: given, mcpUrl: from }),
          );
          expect(given).toEqual(before);
        }),
      );
    });

    test('is the identity, however often, where all places are equal', () => {
      fc.assert(
        fc.property(profile, headers, mcpUrl, ({ askedBy, fields }, given, from) => {
          const still = { askedBy, fields: fields.map((field) => ({ ...field, to: field.from })) };
          const once = applyInputs(still, given, from);
          expect(once).toEqual({ headers: given, mcpUrl: from });
          expect(applyInputs(still, once.headers, once.mcpUrl)).toEqual(once);
        }),
      );
    });

    test('a moved value arrives at its target alone, and its source is gone unless it is a target too', () => {
      fc.assert(
        fc.property(profile, headers, mcpUrl, (inputs, given, from) => {
          const sent = applyInputs(inputs, given, from);
          const at = (
            values: { headers: Record<string, string>; mcpUrl: string },
            { kind, name: n }: InputPlace,
          ) =>
            kind === 'header'
              ? Object.entries(values.headers)
                  .filter(([h]) => h.toLowerCase() === n.toLowerCase())
                  .map(([, v]) => v)
              : new URL(values.mcpUrl).searchParams.getAll(n);
          const targets = new Set(inputs.fields.map((field) => placeKey(field.to)));
          for (const { from: source, to } of inputs.fields) {
            if (placeKey(source) === placeKey(to)) continue;
            const value = at({ headers: given, mcpUrl: from }, source)[0];
            const isPlain = value !== undefined && /^[ -~]*[!-~][ -~]*$/.test(value);
            if (isPlain) expect(at(sent, to)).toEqual([value]);
            if (!targets.has(placeKey(source))) expect(at(sent, source)).toEqual([]);
          }
        }),
      );
    });
  });
});
