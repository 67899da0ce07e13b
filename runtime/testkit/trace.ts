/** All that happened in a schedule, as lines for a person and as one number to compare two runs by. */
import { describeFault, type Fault } from "./fault-plan.ts";
import type { Fate, Passage } from "./faults.ts";
import { hashOf } from "./random.ts";

/** Ids are random, and so no part of a run that is to be repeated. */
const ID = /[0-7][0-9A-HJKMNP-TV-Z]{25}/g;

export class Trace {
  readonly #now: () => number;
  readonly #print: ((line: string) => void) | undefined;
  #hash = hashOf("");
  #events = 0;

  /** `now` in milliseconds since the start. */
  constructor(now: () => number, print?: (line: string) => void) {
    this.#now = now;
    this.#print = print;
  }

  /** Equal for equal runs. */
  get hash(): string {
    return this.#hash.toString(16).padStart(8, "0");
  }

  get events(): number {
    return this.#events;
  }

  passage({ process, direction, what, subject }: Passage, fate: Fate): void {
    const mishap = fate.lost ? "lost" : fate.refused ? "refused" : fate.againMs ? "twice" : "";
    const about = subject.length < 26 ? subject : subject.replaceAll(ID, "*");
    this.#add(`${process} ${direction} ${what} ${about} ${mishap}`, fate.delayMs);
  }

  fault(fault: Fault): void {
    this.#add(`fault ${describeFault(fault)}`, 0);
  }

  note(text: string): void {
    this.#add(text, 0);
  }

  #add(text: string, delayMs: number): void {
    const now = this.#now();
    this.#events += 1;
    this.#hash = hashOf(`${now} ${delayMs} ${text}`, this.#hash);
    this.#print?.(`${(now / 1_000).toFixed(4).padStart(9)}  ${text.trimEnd()}`);
  }
}
