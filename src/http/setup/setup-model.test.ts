import { describe, expect, test } from 'vitest';
import type { Connection } from '../../connections/connection.ts';
import type { CredentialProfile, InputField } from '../../connections/inputs/profile.ts';
import type { Grant } from '../../connections/oauth/grant.ts';
import { loginOf, type SetupContext, setupFormOf, withEntered } from './setup-model.ts';

const key: InputField = {
  from: { kind: 'header', name: 'X-Api-Key' },
  to: { kind: 'header', name: 'X-Api-Key' },
  label: 'API key',
  required: true,
  secret: true,
};
const region: InputField = {
  from: { kind: 'query', name: 'region' },
  to: { kind: 'query', name: 'region' },
  label: 'Region',
  required: true,
  secret: false,
};
const inputs: CredentialProfile = { askedBy: 'mcp.example.com', fields: [key, region] };

const inputRequired: Connection['status'] = {
  state: 'input_required',
  http: {},
  missing: { headers: [], query: [] },
};

const grant = {
  server: { issuer: 'https://login.example.com', metadata: undefined, resource: undefined },
  scope: 'read write',
  resourceMetadataUrl: undefined,
  stepUps: 1,
} as Grant;

const connectionOf = (given: Partial<Connection>) =>
  ({
    namespace: 'acme',
    name: 'c',
    mcpUrl: 'https://mcp.example.com/mcp',
    iconUrl: null,
    serverInfo: undefined,
    status: { state: 'connected' },
    inputs: null,
    login: null,
    ...given,
  }) as Connection;

const formOf = (connection: Partial<Connection>, context: Partial<SetupContext> = {}) =>
  setupFormOf(connectionOf(connection), {
    headers: {},
    grant: undefined,
    action: '/acme/c/setup?ticket=t',
    csrf: 'x',
    returnUrl: undefined,
    ...context,
  });

describe('the fields of a setup form', () => {
  const waiting = { inputs, status: inputRequired };

  test('without values, what is required has to be filled in', () => {
    expect(formOf(waiting).fields).toMatchObject([
      { name: 'header:X-Api-Key', required: true, isKept: false, value: '' },
      { name: 'query:region', required: true, isKept: false, value: '' },
    ]);
  });

  test('a stored value that is not shown may be kept; one that is shown may not be emptied', () => {
    const stored = { headers: { 'x-api-key': 'sentinel' } };
    const { fields } = formOf({ ...waiting, mcpUrl: 'https://mcp.example.com/mcp?region=eu' }, stored);
    expect(fields).toMatchObject([
      { required: false, isKept: true, value: '' },
      { required: true, isKept: false, value: 'eu' },
    ]);
    expect(JSON.stringify(fields)).not.toContain('sentinel');
  });

  test('while a login is waited for, there are none', () => {
    expect(formOf({ inputs, status: { state: 'auth_required' } }).fields).toEqual([]);
  });
});

describe('what a person entered', () => {
  const stored = {
    headers: { 'x-api-key': 'old', accept: 'a' },
    mcpUrl: 'https://mcp.example.com/mcp?q=%20&region=eu',
  };

  test('takes the place of what is stored, and all else stays byte by byte', () => {
    const form = new URLSearchParams({
      'header:X-Api-Key': ' new ',
      'query:region': 'us',
      'query:other': 'x',
    });
    expect(withEntered(inputs, form, stored)).toEqual({
      headers: { accept: 'a', 'X-Api-Key': 'new' },
      mcpUrl: 'https://mcp.example.com/mcp?q=%20&region=us',
    });
  });

  test('is nothing new if the fields are empty or as the page showed them', () => {
    const form = new URLSearchParams({ 'header:X-Api-Key': ' ', 'query:region': 'eu' });
    expect(withEntered(inputs, form, stored)).toBe(stored);
  });
});

describe('the login of a setup', () => {
  const login = { issuer: 'https://a.example', scope: 'read', resourceMetadataUrl: undefined, stepUps: 0 };

  test('is the one that the connection waits for', () => {
    expect(loginOf(connectionOf({ status: { state: 'auth_required' }, login }), grant)).toBe(login);
  });

  test('of a connection with a grant, it is the same once more', () => {
    expect(loginOf(connectionOf({}), grant)).toMatchObject({
      issuer: 'https://login.example.com',
      scope: 'read write',
    });
    // More than before is asked for only where the connection waits for it.
    expect(formOf({}, { grant }).login).toMatchObject({ isAgain: true, asksForMore: false });
    const more = { status: { state: 'auth_required' }, login: { ...login, stepUps: 1 } } as const;
    expect(formOf(more, { grant }).login).toMatchObject({ isAgain: true, asksForMore: true });
  });

  test('does not come before the values, nor without a grant', () => {
    expect(loginOf(connectionOf({ status: inputRequired }), grant)).toBeUndefined();
    expect(loginOf(connectionOf({}), undefined)).toBeUndefined();
  });
});
