/** How much of each subject is under way at this moment. */
export class OpenCounts {
  readonly #open = new Map<string, number>();

  of(subject: string): number {
    return this.#open.get(subject) ?? 0;
  }

  begin(subject: string): void {
    this.#open.set(subject, this.of(subject) + 1);
  }

  end(subject: string): void {
    const left = this.of(subject) - 1;
    if (left > 0) this.#open.set(subject, left);
    else this.#open.delete(subject);
  }
}
