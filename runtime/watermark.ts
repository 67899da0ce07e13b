/**
 * How far the outboxes of one stream's records are known to be sent. An owner keeps one for its own commits; what it
 * says is written into the partition's checkpoint about once a second.
 *
 * Invariants:
 * W1 The outbox of every record that this owner wrote at or below `upTo` is stored by its receivers. A commit
 *    whose revision or fate is not known holds `upTo` below whatever revision it may get.
 * W2 `running` names every record at or below `upTo` that this owner wrote and that has an open effect.
 */
export class Watermark {
  /** The highest revision known to be given: what is committed from now on gets a higher one. */
  #seen: number;
  /** Actors whose commit or outbox is under way, oldest first: the highest revision known when it began. */
  readonly #open = new Map<string, number>();
  readonly #running = new Map<string, number>();

  constructor(seen: number) {
    this.#seen = seen;
  }

  get seen(): number {
    return this.#seen;
  }

  get upTo(): number {
    for (const floor of this.#open.values()) return floor;
    return this.#seen;
  }

  /** Actors with open effects and the revisions of their records, lowest first. */
  get running(): [name: string, revision: number][] {
    return [...this.#running].toSorted((a, b) => a[1] - b[1]);
  }

  /** A commit with an outbox or effects begins (W1). An actor has one at a time (K3). */
  begun(name: string): void {
    if (!this.#open.has(name)) this.#open.set(name, this.#seen);
  }

  /** It is certain that the commit was not stored. */
  refused(name: string): void {
    this.#open.delete(name);
  }

  stored(
    name: string,
    revision: number,
    has: { readonly outbox: boolean; readonly effects: boolean },
  ): void {
    if (revision <= (this.#open.get(name) ?? 0)) this.#wentBack(revision);
    this.#seen = Math.max(this.#seen, revision);
    if (has.effects) this.#running.set(name, revision);
    else this.#running.delete(name);
    if (!has.outbox) this.#open.delete(name);
  }

  /** The outbox of the actor's newest record is stored. */
  sent(name: string): void {
    this.#open.delete(name);
  }

  /** The broker lost its last writes and gives their revisions again. */
  #wentBack(revision: number): void {
    this.#seen = revision;
    for (const [name, floor] of this.#open) this.#open.set(name, Math.min(floor, revision - 1));
  }
}
