/** What all inboxes of a node may hold of message bodies, in bytes (R7). Who finds it spent keeps sequences alone. */
export class BodyBudget {
  readonly #limit: number;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  get isSpent(): boolean {
    return this.#used >= this.#limit;
  }

  change(by: number): void {
    this.#used += by;
  }
}
