/** The chunks as one Buffer. One alone is returned itself, not copied: it still shares its memory. */
export function concat(chunks: readonly Buffer[]): Buffer {
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}
