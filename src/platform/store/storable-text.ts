/** Whether both databases store `text` as it is: PostgreSQL takes no NUL, neither takes a lone surrogate. */
export function isStorableText(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
  return text.isWellFormed() && !/[\u0000-\u001f\u007f-\u009f]/.test(text);
}
