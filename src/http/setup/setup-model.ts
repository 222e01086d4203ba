import type { Connection } from '../../connections/connection.ts';
import type { CredentialProfile, InputField } from '../../connections/inputs/profile.ts';
import { type InputValues, inputValue, withValue } from '../../connections/inputs/values.ts';
import type { Grant } from '../../connections/oauth/grant.ts';
import type { LoginNeed } from '../../connections/oauth/login-need.ts';
import type { SetupField, SetupForm } from './setup-form.ts';

/** What a form of the setup page is about, besides what the connection says itself. */
export interface SetupContext {
  /** The connection's own headers, to see which values are there. */
  headers: Record<string, string>;
  grant: Grant | undefined;
  action: string;
  csrf: string;
  returnUrl: string | undefined;
  problem?: string | undefined;
  /** What the person has entered, to be shown again. */
  entered?: Record<string, string>;
}

/** The setup form of a connection: the fields that its server asks for, and the login that follows. */
export function setupFormOf(connection: Connection, context: SetupContext): SetupForm {
  const { namespace, name, status, serverInfo, iconUrl, mcpUrl } = connection;
  const host = new URL(mcpUrl).host;
  const login = loginOf(connection, context.grant);
  const isAgain = context.grant !== undefined;
  return {
    namespace,
    connectionName: name,
    server: { title: serverInfo?.title ?? serverInfo?.name, host, iconUrl: iconUrl ?? undefined },
    action: context.action,
    csrf: context.csrf,
    fields: status.state === 'auth_required' ? [] : fieldsOf(connection, context),
    askedBy: connection.inputs?.askedBy,
    login: login && {
      authorizationServer: login.issuer,
      scopes: login.scope?.split(' ').filter(Boolean) ?? [],
      isAgain,
      asksForMore: isAgain && status.state === 'auth_required' && login.stepUps > 0,
    },
    problem: context.problem,
    returnHost: context.returnUrl && new URL(context.returnUrl).host,
  };
}

/** The login that a setup ends with: the one that the connection waits for, or that of its grant once more. */
export function loginOf(
  { status, login, mcpUrl }: Connection,
  grant: Grant | undefined,
): LoginNeed | undefined {
  if (status.state === 'auth_required') {
    const unknown = { scope: undefined, resourceMetadataUrl: undefined, stepUps: 0 };
    return login ?? { issuer: new URL(mcpUrl).origin, ...unknown };
  }
  if (!grant || status.state === 'input_required') return undefined;
  const { server, scope, resourceMetadataUrl, stepUps } = grant;
  return { issuer: server.issuer, scope, resourceMetadataUrl, stepUps };
}

/** The name that a field has in the form. */
function formName({ from }: InputField): string {
  return `${from.kind}:${from.name}`;
}

/**
 * The values of a connection with what the person entered; `stored` itself if that is nothing new. Fields left empty
 * keep what is stored.
 */
export function withEntered(
  { fields }: CredentialProfile,
  form: URLSearchParams,
  stored: InputValues,
): InputValues {
  return fields.reduce((values, field) => {
    const entered = form.get(formName(field))?.trim();
    // The page shows values of the query, and the form sends them back.
    const isKept = !entered || (field.from.kind === 'query' && entered === inputValue(field, stored));
    return isKept ? values : withValue(values, field.from, entered);
  }, stored);
}

function fieldsOf({ inputs, mcpUrl }: Connection, { headers, entered }: SetupContext): SetupField[] {
  if (!inputs) return [];
  return inputs.fields.map((field) => {
    const { from, label, description, required, secret } = field;
    const stored = inputValue(field, { headers, mcpUrl });
    const isShown = from.kind === 'query' && !secret;
    const isKept = stored !== undefined && !isShown;
    return {
      name: formName(field),
      label,
      ...(description !== undefined && { description }),
      required: required && !isKept,
      secret,
      isKept,
      value: entered?.[formName(field)] ?? ((isShown && stored) || ''),
    };
  });
}
