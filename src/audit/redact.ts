/** Names of values that are most likely secrets, however they are written: `apiKey`, `api-key`, `X-API-Key`. */
const secretNames =
  /pass(word|wd|phrase|code)|secret|token(?!s)|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|authori[sz]ation|credential|cookie|session[-_ ]?id|signature|^(pwd|pin|otp|cvv|cvc|auth)$/i;

/** Secrets that show by their form: bearer and basic credentials, JWTs, private keys, userinfo of URLs, common prefixes. */
const secretTexts = [
  /\b(?:bearer|basic)\s+[\w.~+/=-]{8,}/gi,
  /\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?/g,
  /(?<=:\/\/)[^\s/@:]*:[^\s/@]*(?=@)/g,
  /\b(?:sk|pk|rk|pb|gh[opsur]|github_pat|glpat|xox[abeoprs]|AKIA|AIza|npm|whsec)[-_]?[A-Za-z0-9_-]{16,}/g,
];

const redacted = '[redacted]';

/**
 * A copy of a JSON value without what looks like a secret, by its name or its form, and without `known`, which are secrets for
 * certain. It finds much and not all: who keeps arguments and results keeps what people and servers write.
 */
export function redact(value: unknown, known: readonly string[]): unknown {
  // What is too short would blank out ordinary words.
  const certain = known.filter((secret) => secret.length >= 8);
  const clean = (part: unknown): unknown => {
    if (typeof part === 'string') return redactText(part, certain);
    if (Array.isArray(part)) return part.map(clean);
    if (typeof part !== 'object' || part === null) return part;
    // A null prototype, so that a member named `__proto__` is one like others.
    const copy: Record<string, unknown> = Object.create(null);
    for (const [name, inner] of Object.entries(part)) {
      const isSecret = secretNames.test(name) && inner !== null && typeof inner !== 'boolean';
      copy[redactText(name, certain)] = isSecret ? redacted : clean(inner);
    }
    return copy;
  };
  return clean(value);
}

function redactText(text: string, known: readonly string[]): string {
  let clean = text;
  for (const secret of known) clean = clean.replaceAll(secret, redacted);
  for (const pattern of secretTexts) clean = clean.replace(pattern, redacted);
  return clean;
}
