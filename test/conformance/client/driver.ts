/**
 * What the conformance suite starts as "the client", once a scenario, with the scenario's MCP server as the last
 * argument. The client under test is Patchbay: here is only the application that owns a connection, and the person who
 * opens its setup page. Exits with 1 where the connection could not be brought to work, which some scenarios expect.
 */
import { randomBytes } from 'node:crypto';
import type { Status } from '../../../src/connections/status.ts';
import { followLogin } from '../../fixtures/oauth/browser.ts';
import { createCaller } from './caller.ts';

/** One more login than the suite's limit of three: where to stop is for Patchbay to know. */
const maxLogins = 4;

// The suite's requirements cannot be restricted to one kind of scenario; the others have no say here.
if (!fromEnvironment('MCP_CONFORMANCE_SCENARIO').startsWith('auth/')) process.exit(0);

const mcpUrl = process.argv.at(-1) as string;
const patchbayUrl = fromEnvironment('CONFORMANCE_PATCHBAY_URL');
const key = fromEnvironment('CONFORMANCE_PATCHBAY_KEY');
const revision = fromEnvironment('MCP_CONFORMANCE_PROTOCOL_VERSION');
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}') as Record<string, string>;

// Ports come again, and with them issuers: a namespace of its own knows no client of another scenario.
const namespace = `conformance-${randomBytes(8).toString('hex')}`;
const connection = `/connect/${namespace}/upstream`;
const caller = createCaller(`${patchbayUrl}${connection}/mcp`, key, revision);

await api('PUT', `/namespaces/${namespace}`);
if (context.client_id !== undefined) await configureClient();
await api('PUT', connection, { mcpUrl });
for (let logins = 0; ; logins++) {
  const setupUrl = (await waitsForLogin()) ?? (await useServer());
  if (setupUrl === undefined) break;
  if (logins === maxLogins) throw new Error(`asked to log in again after ${logins} logins`);
  await logIn(setupUrl);
}

/** The setup page, if the connection waits for its user. */
async function waitsForLogin(): Promise<string | undefined> {
  const { status } = (await api('GET', connection)) as { status: Status };
  if (status.state === 'connected') return undefined;
  if (status.state === 'auth_required') return status.setupUrl;
  throw new Error(`the connection is ${JSON.stringify(status)}`);
}

/** Lists and calls all tools; the setup page, if a login was asked for on the way. */
async function useServer(): Promise<string | undefined> {
  const listed = await caller.call('tools/list');
  if ('authorizationUrl' in listed) return listed.authorizationUrl;
  for (const { name } of listed.result.tools as { name: string }[]) {
    const called = await caller.call('tools/call', { name, arguments: {} });
    if ('authorizationUrl' in called) return called.authorizationUrl;
  }
  return undefined;
}

async function logIn(setupUrl: string): Promise<void> {
  const steps = await followLogin(setupUrl);
  const end = steps.at(-1);
  for (const { status, url } of steps) console.log(`${status} ${url}`);
  if (end?.status !== 200) throw new Error(`the login ended with ${end?.status}: ${end?.text}`);
}

/** Some scenarios hand over a client that their authorization server knows already. */
async function configureClient(): Promise<void> {
  const isForItself = context.name?.startsWith('auth/client-credentials-');
  await api('POST', `/namespaces/${namespace}/oauth-clients`, {
    server: mcpUrl,
    clientId: context.client_id,
    clientSecret: context.client_secret,
    privateKey: context.private_key_pem,
    algorithm: context.signing_algorithm,
    ...(isForItself && { grantType: 'client_credentials' }),
  });
}

async function api(method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(`${patchbayUrl}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`);
  console.log(`${method} ${path}: ${text}`);
  return JSON.parse(text);
}

function fromEnvironment(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: the conformance suite starts this file`);
  return value;
}
