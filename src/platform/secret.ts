import { inspect } from 'node:util';

/**
 * A value that must not reach a log, an answer or a stack trace. It prints as `[secret]` however it is
 * looked at; `reveal()` is the one greppable way to the value.
 */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
