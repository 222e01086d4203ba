import { iconUrlOf, readServerInfo, type ServerInfo } from '../mcp/server-info.ts';
import { ApiError } from '../platform/errors.ts';
import type { Limits } from '../platform/limits.ts';
import { callUpstream } from '../upstream/call.ts';
import { CredentialsRefused, refusedCredentials, UpstreamFault } from '../upstream/fault.ts';
import { negotiate, type OpenedSession, type Protocol } from '../upstream/negotiate.ts';
import type { SessionPool } from '../upstream/sessions.ts';
import type { Target } from '../upstream/target.ts';
import { defaultTimeLimits } from './connection-settings.ts';
import type { ConnectionsDeps } from './deps.ts';
import { fetchProfile } from './inputs/fetch-profile.ts';
import { httpInputs, missingInputs } from './inputs/missing.ts';
import type { CredentialProfile } from './inputs/profile.ts';
import { makeTarget, type TargetParts } from './make-target.ts';
import { findConfiguredClient } from './oauth/configured-clients.ts';
import type { Grant } from './oauth/grant.ts';
import { findLogin, type LoginNeed } from './oauth/login-need.ts';
import { readInstructions, type SeenInstructions } from './pins/instructions.ts';
import type { Status } from './status.ts';

/** What one look at an upstream found. A failing upstream is a finding, not an error. */
export interface Finding {
  status: Status;
  /** When the evidence came in; for an upstream that stayed silent, when it was asked. */
  at: number;
  /** Only of an upstream that answered. */
  learned:
    | {
        protocol: Protocol;
        serverInfo: ServerInfo | undefined;
        iconUrl: string | null;
        instructions: SeenInstructions;
        session: OpenedSession | undefined;
        /** What was asked. */
        target: Target;
      }
    | undefined;
  /** What the server asks of its user: null if nothing, undefined if that could not be learned now. */
  inputs: CredentialProfile | null | undefined;
  /** Where the user logs in, with `auth_required`; or with `error`, where a client of the tenant's does. */
  login: LoginNeed | undefined;
  /** The fault behind a status of `error`. */
  fault: UpstreamFault | undefined;
}

/** What is probed: a connection's target, and what it is made of. */
export interface Subject extends Omit<TargetParts, 'accessToken' | 'timeLimits'> {
  namespace: string;
  grant: Grant | undefined;
  /** What it spoke when it was last asked. */
  known: Protocol | undefined;
  /** Whether it refused the credentials when it was last called. */
  wasRefused: boolean;
  /** Whether a server without metadata may be asked to register us: when somebody sets the connection, not ever again. */
  mayRegister: boolean;
}

/**
 * Asks an upstream who it is, what it speaks, and what it asks of its user. An upstream that answers 401 is asked
 * where to log in (design §8: `auth_required` only when there is such a place), unless a token went along: then
 * that is first a matter of renewing it.
 * Bounded by `limits.lookMs`, below the 30 s of create and set; throws only for faults of our own.
 */
export async function probe(deps: ConnectionsDeps, subject: Subject): Promise<Finding> {
  const { clock, limits } = deps;
  const start = clock.elapsed();
  const target = targetOf(subject, subject.inputs, limits);
  const [asked, inputs] = await Promise.all([
    ask(deps, target, subject.known),
    fetchProfile(deps.oauth, subject.mcpUrl, deps.stopping, limits),
  ]);
  const known = inputs === undefined ? subject.inputs : inputs;
  const required = requireInputs(known, subject);
  if (required) return { ...asked, status: required, inputs, login: undefined, fault: undefined };
  const leftMs = () => start + limits.lookMs - clock.elapsed();
  let finding: Finding = { ...asked, inputs, login: undefined };
  // Only now is it known where the server wants its values.
  const mended = targetOf(subject, known, limits);
  if (!isSameTarget(target, mended) && leftMs() > limits.probeMs) {
    releaseSession(deps.sessions, finding);
    finding = { ...(await ask(deps, mended, subject.known)), inputs, login: undefined };
  }
  if (subject.wasRefused) finding = await confirm(deps, finding);
  const { fault } = finding;
  if (!(fault instanceof CredentialsRefused) || fault.status !== 401 || subject.grant) return finding;
  return { ...finding, ...(await askForLogin(deps, subject, fault, leftMs())) };
}

/** Whether the last word of an upstream was that it refuses the credentials. */
export function wasRefused(status: Status): boolean {
  return (
    status.state === 'auth_required' ||
    (status.state === 'error' && status.message.startsWith(refusedCredentials))
  );
}

/**
 * Many servers discover and initialize for anyone and ask for credentials later. So after a refusal the probe also
 * lists tools before it believes that all is well.
 */
async function confirm(
  { transport, sessions, limits, stopping, clock }: ConnectionsDeps,
  finding: Finding,
): Promise<Finding> {
  if (!finding.learned) return finding;
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(limits.discoverMs)]);
  const { target, protocol } = finding.learned;
  adoptSession(sessions, finding);
  try {
    await callUpstream(transport, sessions, target, protocol, 'tools/list', {}, signal);
    return finding;
  } catch (fault) {
    if (!(fault instanceof UpstreamFault)) throw fault;
    return { ...failed(fault, clock.now()), inputs: finding.inputs };
  }
}

/** A probe has time limits of its own, whatever is set for calls. */
function targetOf(subject: Subject, inputs: CredentialProfile | null, limits: Limits): Target {
  const accessToken = subject.grant?.accessToken;
  return makeTarget({ ...subject, inputs, accessToken, timeLimits: defaultTimeLimits(limits) });
}

function isSameTarget(one: Target, other: Target): boolean {
  return (
    one.path === other.path &&
    one.origin === other.origin &&
    one.headers.reveal().join('\n') === other.headers.reveal().join('\n')
  );
}

/** The status of a connection that lacks values which its server requires; undefined if it has them all. */
function requireInputs(
  inputs: CredentialProfile | null,
  { headers, mcpUrl }: { headers: Record<string, string>; mcpUrl: string },
): Status | undefined {
  if (!inputs) return undefined;
  const missing = missingInputs(inputs, headers, mcpUrl);
  if (missing.headers.length + missing.query.length === 0) return undefined;
  return { state: 'input_required', http: httpInputs(inputs), missing };
}

async function ask(
  { transport, clock, limits, stopping }: ConnectionsDeps,
  target: Target,
  known: Protocol | undefined,
): Promise<Omit<Finding, 'inputs' | 'login'>> {
  const askedAt = clock.now();
  try {
    const { protocol, session, ...given } = await negotiate(transport, target, known, stopping);
    const serverInfo = readServerInfo(given.serverInfo, limits);
    return {
      status: { state: 'connected' },
      at: clock.now(),
      learned: {
        protocol: { ...protocol, learnedAt: askedAt },
        serverInfo,
        iconUrl: iconUrlOf(serverInfo),
        instructions: readInstructions(given.instructions, limits.instructionsChars),
        session,
        target,
      },
      fault: undefined,
    };
  } catch (fault) {
    if (!(fault instanceof UpstreamFault)) throw fault;
    // Broken off by us: that says nothing about the upstream.
    if (stopping.aborted) throw new ApiError('shutting_down', { retryable: true });
    return failed(fault, fault.kind === 'timeout' ? askedAt : clock.now());
  }
}

/** The finding that an upstream failed. */
export function failed(fault: UpstreamFault, at: number): Finding {
  return { status: failedStatus(fault), at, learned: undefined, inputs: undefined, login: undefined, fault };
}

async function askForLogin(
  deps: ConnectionsDeps,
  { namespace, mcpUrl, mayRegister }: Subject,
  refusal: CredentialsRefused,
  timeLimitMs: number,
): Promise<Pick<Finding, 'status' | 'login' | 'fault'>> {
  try {
    const login = await findLogin(deps, namespace, mcpUrl, refusal.challenge, mayRegister, timeLimitMs);
    const configured = await findConfiguredClient(deps, namespace, { mcpUrl, issuer: login.issuer });
    // No person is needed, nor of any help: see settle.ts.
    if (configured?.grantType === 'client_credentials')
      return { status: failedStatus(refusal), login, fault: undefined };
    return { status: { state: 'auth_required' }, login, fault: undefined };
  } catch (fault) {
    if (!(fault instanceof UpstreamFault)) throw fault;
    return { status: failedStatus(fault), login: undefined, fault };
  }
}

function failedStatus({ message }: UpstreamFault): Status {
  return { state: 'error', message };
}

/** Keeps the session that a stored finding opened, for the calls to come. */
export function adoptSession(sessions: SessionPool, { learned }: Pick<Finding, 'learned'>): void {
  if (learned?.session) sessions.adopt(learned.target, learned.session);
}

/** Ends the session of a finding that was not stored. */
export function releaseSession(sessions: SessionPool, { learned }: Pick<Finding, 'learned'>): void {
  if (learned?.session) sessions.release(learned.target, learned.session);
}
