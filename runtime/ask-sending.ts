/** One ask of a client as it is sent, perhaps more than once. */
import { BerthError, type ErrorCode } from "../protocols/errors.ts";
import { pack } from "./ask-codec.ts";
import type { ResendBudget } from "./resend-budget.ts";
import type { Again } from "./transport.ts";

/** May be said by nodes that have not looked at the actor's record, besides those that say it lives elsewhere. */
const BLIND: ReadonlySet<ErrorCode> = new Set(["actor.overloaded", "node.outdated"]);

export interface AskSendingOptions {
  readonly everyMs: number;
  readonly isReadOnly: boolean;
  readonly budget: ResendBudget;
}

export class AskSending {
  readonly again: Again;
  #data: Uint8Array;
  readonly #isReadOnly: boolean;
  #isRepeated = false;

  constructor(
    request: Readonly<Record<string, unknown>>,
    { everyMs, isReadOnly, budget }: AskSendingOptions,
  ) {
    this.#isReadOnly = isReadOnly;
    this.#data = pack(request);
    this.again = {
      everyMs,
      data: () => {
        if (!budget.take()) return undefined;
        this.#isRepeated = true;
        this.#data = pack({ ...request, again: true });
        return this.#data;
      },
    };
  }

  get data(): Uint8Array {
    return this.#data;
  }

  /** Whether the refusal leaves it open what became of another sending: one more, which is the same ask, may tell. */
  isDoubtful(refusal: BerthError, isSure: boolean): boolean {
    if (!this.#isRepeated || this.#isReadOnly || isSure) return false;
    return refusal.retry === "elsewhere" || BLIND.has(refusal.code);
  }

  /**
   * What the caller is told when it is refused for good: of several sendings the one that was refused speaks for itself
   * alone, and another may have been handled. Unless who refused it is sure: then it speaks for all.
   */
  verdict(refusal: BerthError, isSure: boolean): BerthError {
    if (!this.isDoubtful(refusal, isSure)) return refusal;
    const message = `No answer came to an earlier sending; the last was refused: ${refusal.message}`;
    return new BerthError("ask.timeout", message, { cause: refusal });
  }
}
