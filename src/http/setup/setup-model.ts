import type { Connection } from '../../connections/connection.ts';
import { missingInputs } from '../../connections/inputs/missing.ts';
import type { CredentialProfile, InputField } from '../../connections/inputs/profile.ts';
import type { SetupField, SetupForm } from './setup-form.ts';

/** What a form of the setup page is about, besides what the connection says itself. */
export interface SetupContext {
  /** The connection's own headers, to see which values are there. */
  headers: Record<string, string>;
  hasGrant: boolean;
  action: string;
  csrf: string;
  returnUrl: string | undefined;
  problem?: string | undefined;
  /** What the person has entered, to be shown again. */
  entered?: Record<string, string>;
}

/** The setup form of a connection: the fields that its server asks for, and the login that follows. */
export function setupFormOf(connection: Connection, context: SetupContext): SetupForm {
  const { namespace, name, status, serverInfo, iconUrl, mcpUrl, login } = connection;
  const host = new URL(mcpUrl).host;
  const needsLogin =
    status.state === 'auth_required' || (context.hasGrant && status.state !== 'input_required');
  return {
    namespace,
    connectionName: name,
    server: { title: serverInfo?.title ?? serverInfo?.name ?? host, host, iconUrl: iconUrl ?? undefined },
    action: context.action,
    csrf: context.csrf,
    fields: status.state === 'auth_required' ? [] : fieldsOf(connection, context),
    askedBy: connection.inputs?.askedBy,
    login: needsLogin
      ? {
          authorizationServer: login?.issuer ?? host,
          scopes: login?.scope?.split(' ').filter(Boolean) ?? [],
          isAgain: context.hasGrant,
          asksForMore: context.hasGrant && (login?.stepUps ?? 0) > 0,
        }
      : undefined,
    problem: context.problem,
    returnHost: context.returnUrl && new URL(context.returnUrl).host,
  };
}

/** The name that a field has in the form. */
export function formName({ from }: InputField): string {
  return `${from.kind}:${from.name}`;
}

/** What the person entered, by place; fields left empty keep what is stored. */
export function enteredValues(
  { fields }: CredentialProfile,
  form: URLSearchParams,
): { headers: Record<string, string>; query: Record<string, string> } {
  const values = { headers: {} as Record<string, string>, query: {} as Record<string, string> };
  for (const field of fields) {
    const value = form.get(formName(field))?.trim();
    if (!value) continue;
    if (field.from.kind === 'header') values.headers[field.from.name] = value;
    else values.query[field.from.name] = value;
  }
  return values;
}

function fieldsOf({ inputs, mcpUrl }: Connection, { headers, entered }: SetupContext): SetupField[] {
  if (!inputs) return [];
  const missing = missingInputs(inputs, headers, mcpUrl);
  const query = new URL(mcpUrl).searchParams;
  return inputs.fields.map((field) => {
    const { kind, name } = field.from;
    const isMissing = (kind === 'header' ? missing.headers : missing.query).includes(name);
    return {
      name: formName(field),
      label: field.label,
      ...(field.description !== undefined && { description: field.description }),
      // A value that is stored and not shown stays if nothing is entered.
      required: isMissing,
      secret: field.secret,
      value: entered?.[formName(field)] ?? (kind === 'query' ? (query.get(name) ?? '') : ''),
    };
  });
}
