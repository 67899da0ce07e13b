/** One piece of work at a time for each name, in the order in which it was asked for. */
export class NameLocks {
  readonly #last = new Map<string, Promise<void>>();

  async hold<T>(name: string, work: () => Promise<T>): Promise<T> {
    const running = (this.#last.get(name) ?? Promise.resolve()).then(work);
    const ended = running.then(
      () => {},
      () => {},
    );
    this.#last.set(name, ended);
    try {
      return await running;
    } finally {
      if (this.#last.get(name) === ended) this.#last.delete(name);
    }
  }
}
