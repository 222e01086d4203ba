import { randomText } from '../../platform/ids.ts';
import type { CallerLink } from './caller-link.ts';

/** The sessions of legacy callers in front of servers that are reached over a link, by an id that callers get sealed. */
export class CallerLinks {
  readonly #links = new Map<string, CallerLink>();

  /** Keeps `link` until its session ends; returns its id. */
  add(link: CallerLink): string {
    const id = randomText(24);
    const { ended } = link.session;
    if (ended.aborted) return id;
    this.#links.set(id, link);
    ended.addEventListener('abort', () => this.#links.delete(id));
    return id;
  }

  /** undefined for one that has ended, or lives in another process. */
  find(id: string): CallerLink | undefined {
    return this.#links.get(id);
  }
}
