/** The search for an order of one key's calls that a model allows. */
import type { Operation } from "./history.ts";
import type { Witness } from "./linearizability.ts";
import type { Model } from "./models.ts";

export interface SearchLimit {
  readonly steps: number;
  /** Asked now and then. */
  isOver(): boolean;
}

export type Found =
  | { readonly verdict: "ok" }
  | { readonly verdict: "unknown" }
  | { readonly verdict: "violated"; readonly witness: Witness };

/** A start or an end of a call, in a list ordered by time from which both go when the call is placed. */
interface Entry {
  readonly call: number;
  readonly isEnd: boolean;
  before: Entry | undefined;
  after: Entry | undefined;
}

const ASK_EVERY = 1_024;

export function searchOrder<S>(
  model: Model<S>,
  operations: readonly Operation[],
  limit: SearchLimit,
): Found {
  const search = new OrderSearch(model, operations);
  for (let steps = 1; ; steps += 1) {
    const verdict = search.step();
    if (verdict === "ok") return { verdict };
    if (verdict === "violated") return { verdict, witness: search.witness() };
    if (steps >= limit.steps || (steps % ASK_EVERY === 0 && limit.isOver()))
      return { verdict: "unknown" };
  }
}

class OrderSearch<S> {
  readonly #model: Model<S>;
  readonly #keyOf: (state: S) => string;
  readonly #calls: readonly Operation[];
  readonly #head: Entry = { call: -1, isEnd: false, before: undefined, after: undefined };
  readonly #starts: Entry[] = [];
  readonly #ends: (Entry | undefined)[] = [];
  /** Of an unknown call: the earlier one just like it, which goes first without loss of generality. */
  readonly #twins: (number | undefined)[];
  readonly #placed: boolean[];
  /** The first call that is not placed, and the last one that is. */
  #firstOpen = 0;
  #lastPlaced = -1;
  readonly #order: { readonly call: number; readonly state: S }[] = [];
  readonly #tried = new Set<string>();
  #state: S;
  #entry: Entry | undefined;
  /** Calls whose answer was seen and that are not placed. */
  #left: number;
  #longest: number[] = [];
  #stuck: number[] = [];

  constructor(model: Model<S>, operations: readonly Operation[]) {
    this.#model = model;
    this.#keyOf = model.keyOf ? (state) => model.keyOf?.(state) ?? "" : (s) => JSON.stringify(s);
    this.#calls = operations.toSorted((a, b) => a.start - b.start);
    this.#placed = this.#calls.map(() => false);
    this.#twins = twinsOf(this.#calls);
    this.#state = model.initial;
    this.#left = this.#calls.filter(isSeen).length;
    this.#link();
    this.#entry = this.#head.after;
  }

  #link(): void {
    const entries = this.#calls.flatMap((operation, call) => {
      const start = { at: operation.start, entry: entryOf(call, false) };
      this.#starts.push(start.entry);
      if (!isSeen(operation)) return [start]; // H1
      const end = { at: operation.end, entry: entryOf(call, true) };
      this.#ends[call] = end.entry;
      return [start, end];
    });
    // At one instant starts come first: calls that only touch are concurrent.
    entries.sort((a, b) => a.at - b.at || Number(a.entry.isEnd) - Number(b.entry.isEnd));
    let last = this.#head;
    for (const { entry } of entries) {
      last.after = entry;
      entry.before = last;
      last = entry;
    }
  }

  /** Tries the next call, or takes the last one back. Undefined while the search goes on. */
  step(): "ok" | "violated" | undefined {
    if (this.#left === 0) return "ok";
    const entry = this.#entry;
    // A call that ended must be placed before anything that starts behind its end.
    if (!entry || entry.isEnd) return this.#takeBack() ? undefined : "violated";
    this.#entry = this.#place(entry.call) ? this.#head.after : entry.after;
    return undefined;
  }

  #place(call: number): boolean {
    const twin = this.#twins[call];
    if (twin !== undefined && !this.#placed[twin]) return false;
    const { op, input, outcome } = this.#callAt(call);
    const seen = outcome.type === "ok" ? { output: outcome.output } : undefined;
    const next = this.#model.step(this.#state, { op, input, seen });
    if (!next || this.#strands(next.state, call)) return false;
    this.#mark(call, true);
    const key = `${this.#placedKey()}|${this.#keyOf(next.state)}`;
    if (this.#tried.has(key)) {
      this.#mark(call, false);
      return false;
    }
    this.#tried.add(key);
    this.#order.push({ call, state: this.#state });
    this.#state = next.state;
    if (seen) this.#left -= 1;
    unlink(this.#starts[call]);
    unlink(this.#ends[call]);
    return true;
  }

  /** Whether that state comes too late for the call that must be placed before all that start behind its end. */
  #strands(state: S, placed: number): boolean {
    if (!this.#model.isPast) return false;
    let entry = this.#head.after;
    while (entry && (!entry.isEnd || entry.call === placed)) entry = entry.after;
    if (!entry) return false;
    const { op, input, outcome } = this.#callAt(entry.call);
    if (outcome.type !== "ok") return false;
    return this.#model.isPast(state, { op, input, seen: { output: outcome.output } });
  }

  #takeBack(): boolean {
    this.#remember();
    const last = this.#order.pop();
    if (!last) return false;
    this.#state = last.state;
    this.#mark(last.call, false);
    if (isSeen(this.#callAt(last.call))) this.#left += 1;
    relink(this.#ends[last.call]);
    relink(this.#starts[last.call]);
    this.#entry = this.#starts[last.call]?.after;
    return true;
  }

  #mark(call: number, placed: boolean): void {
    this.#placed[call] = placed;
    this.#firstOpen = Math.min(this.#firstOpen, call);
    this.#lastPlaced = Math.max(this.#lastPlaced, call);
    while (this.#placed[this.#firstOpen]) this.#firstOpen += 1;
    while (this.#lastPlaced >= 0 && !this.#placed[this.#lastPlaced]) this.#lastPlaced -= 1;
  }

  /** The set of placed calls: how many from the start on, and which beyond, so that its length is the concurrency. */
  #placedKey(): string {
    let key = `${this.#firstOpen}:`;
    for (let call = this.#firstOpen + 1; call <= this.#lastPlaced; call += 1)
      key += this.#placed[call] ? "1" : "0";
    return key;
  }

  #remember(): void {
    if (this.#order.length < this.#longest.length) return;
    this.#longest = this.#order.map(({ call }) => call);
    this.#stuck = [];
    for (let entry = this.#head.after; entry && !entry.isEnd; entry = entry.after)
      this.#stuck.push(entry.call);
  }

  #callAt(call: number): Operation {
    const operation = this.#calls[call];
    if (!operation) throw new RangeError(`no call ${call}`);
    return operation;
  }

  witness(): Witness {
    return {
      order: this.#longest.map((call) => this.#callAt(call)),
      stuck: this.#stuck.map((call) => this.#callAt(call)),
    };
  }
}

const isSeen = ({ outcome }: Operation) => outcome.type === "ok";
const entryOf = (call: number, isEnd: boolean): Entry => ({
  call,
  isEnd,
  before: undefined,
  after: undefined,
});

/**
 * Of two unknown calls that are alike, the one that started first can stand wherever the other could: orders that
 * prefer the later one need not be tried.
 */
function twinsOf(calls: readonly Operation[]): (number | undefined)[] {
  const latest = new Map<string, number>();
  return calls.map((operation, call) => {
    if (isSeen(operation)) return undefined;
    const likeness = JSON.stringify([operation.op, operation.input]);
    const twin = latest.get(likeness);
    latest.set(likeness, call);
    return twin;
  });
}

function unlink(entry: Entry | undefined): void {
  if (entry?.before) entry.before.after = entry.after;
  if (entry?.after) entry.after.before = entry.before;
}

/** Puts back what was unlinked last: its neighbours are the same again. */
function relink(entry: Entry | undefined): void {
  if (entry?.before) entry.before.after = entry;
  if (entry?.after) entry.after.before = entry;
}
