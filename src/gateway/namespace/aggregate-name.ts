import { hash } from 'node:crypto';

/** Where something of a namespace is: its connection, and its name there (the URI, for a resource). */
export interface Address {
  connectionId: string;
  own: string;
}

/** The longest name that every model provider takes (pains 29). */
const maxNameChars = 64;
const hashChars = 32;
const prefixChars = maxNameChars - hashChars - 1;

/**
 * Gives each entry its name in the namespace, in the order of `entries`; of a pair that is there twice the first. The
 * list and the lookup both go by this map, so what is listed can be called (pains 29). Should two fall on one
 * name, which takes a collision of 128 bits, the later one gets the next name of its own.
 */
export function nameEntries<T extends Address>(
  entries: Iterable<T>,
  nameOf: (connectionId: string, own: string, attempt: number) => string,
): Map<string, T> {
  const named = new Map<string, T>();
  for (const entry of entries) {
    for (let attempt = 0; ; attempt++) {
      const name = nameOf(entry.connectionId, entry.own, attempt);
      const taken = named.get(name);
      if (!taken) named.set(name, entry);
      else if (taken.connectionId !== entry.connectionId || taken.own !== entry.own) continue;
      break;
    }
  }
  return named;
}

/**
 * The name of a tool or prompt in its namespace (design §8, Aggregated names), which depends on nothing but the two:
 * `{connectionId}.{own}` where the id is plain and the whole at most 64 characters; else an alias, a readable
 * beginning and a hash. An alias has no dot, so it is never another's plain name.
 */
export function aggregateName(connectionId: string, own: string, attempt = 0): string {
  const plain = `${connectionId}.${own}`;
  if (attempt === 0 && /^[A-Za-z0-9_-]+$/.test(connectionId) && plain.length <= maxNameChars) return plain;
  const readable = plain.replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, prefixChars);
  // As JSON, where the border between the two is clear and a lone surrogate is not replaced.
  const digest = hash('sha256', JSON.stringify([connectionId, own, attempt]), 'hex');
  return `${readable}_${digest.slice(0, hashChars)}`;
}

/** The connection that a plain name names; undefined for an alias, which does not tell. */
export function connectionOfName(name: string): string | undefined {
  return /^([A-Za-z0-9_-]+)\./.exec(name)?.[1];
}
