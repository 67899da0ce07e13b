/** What one caller knows of one ledger actor, and whether the actor may say what it says (R1, R2, R3). */

export interface Totals {
  readonly counted: number;
  readonly entered: number;
}

/** Calls by what became of them: of `unknown` ones the caller was told nothing, or that nobody can tell. */
export class Ledger {
  #acked = 0;
  #unknown = 0;
  #entered = 0;
  #enteredUnknown = 0;
  #lastCounted = 0;
  readonly #violations: string[] = [];

  /** Calls and entries that were acknowledged. */
  get acked(): number {
    return this.#acked + this.#entered;
  }

  /** An answer to a count. `inOrder`: no other call of this caller was open, so that the numbers must grow (R1). */
  counted(counted: number, inOrder: boolean): void {
    this.#acked += 1;
    if (!inOrder) return;
    if (counted <= this.#lastCounted) {
      this.#violations.push(`R1: counted ${counted} after ${this.#lastCounted}`);
    }
    this.#lastCounted = counted;
  }

  countUnknown(): void {
    this.#unknown += 1;
  }

  entered(): void {
    this.#entered += 1;
  }

  enterUnknown(): void {
    this.#enteredUnknown += 1;
  }

  /** Whether all acknowledged entries have arrived: until then the mirror may lag. */
  isComplete(own: Totals, mirror: Totals): boolean {
    return own.entered >= this.#entered && mirror.entered >= own.entered;
  }

  /** What the totals at the end break; empty when they can be explained. */
  judge(own: Totals, mirror: Totals): readonly string[] {
    const broken = [...this.#violations];
    const within = (rule: string, value: number, least: number, most: number) => {
      if (value < least || value > most) broken.push(`${rule}: ${value}, not ${least} to ${most}`);
    };
    within("R3, counts", own.counted, this.#acked, this.#acked + this.#unknown);
    within("R2 and R3, entries", own.entered, this.#entered, this.#entered + this.#enteredUnknown);
    within("R2 and R3, mirrored", mirror.entered, own.entered, own.entered);
    return broken;
  }
}
