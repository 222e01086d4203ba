/**
 * Text of somebody else as one clean line of at most `maxChars` characters: without control characters, without
 * what turns the direction of writing (so that a label cannot disguise its neighbours), and never cut inside a
 * character. Empty for what is no text, or has nothing to see in it.
 */
export function cleanText(value: unknown, maxChars: number): string {
  if (typeof value !== 'string') return '';
  const line = value
    .replace(/[\p{Cs}\p{Bidi_Control}]/gu, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim();
  const cut = [...line].slice(0, maxChars).join('').trimEnd();
  return /[^\p{C}\p{Z}]/u.test(cut) ? cut : '';
}

/** A name as people would write it: `exaApiKey` is "Exa api key", `X-API-Key` is "API key". */
export function readableName(name: string): string {
  const words = name
    .replace(/^x-/i, '')
    .replace(/([\p{Ll}\d])(\p{Lu})/gu, '$1 $2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1 $2')
    .split(/[\s._-]+/)
    .filter((word) => word !== '')
    // Abbreviations keep their capitals.
    .map((word) => (/^\p{Lu}[\p{Lu}\d]+$/u.test(word) ? word : word.toLowerCase()));
  const text = words.join(' ');
  return text === '' ? name : text.charAt(0).toUpperCase() + text.slice(1);
}
