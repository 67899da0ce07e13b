/** One ask of a client as it is sent, perhaps more than once. */
import { BerthError, type ErrorCode } from "../protocols/errors.ts";
import { pack } from "./ask-codec.ts";
import type { Again } from "./transport.ts";

/** Said by nodes that have not looked at the actor's record, besides those that say it lives elsewhere. */
const BLIND: ReadonlySet<ErrorCode> = new Set(["actor.overloaded", "node.outdated"]);

export class AskSending {
  readonly again: Again;
  #data: Uint8Array;
  readonly #isReadOnly: boolean;
  #isRepeated = false;

  constructor(
    request: Readonly<Record<string, unknown>>,
    { everyMs, isReadOnly }: { readonly everyMs: number; readonly isReadOnly: boolean },
  ) {
    this.#isReadOnly = isReadOnly;
    this.#data = pack(request);
    this.again = {
      everyMs,
      data: () => {
        this.#isRepeated = true;
        this.#data = pack({ ...request, again: true });
        return this.#data;
      },
    };
  }

  get data(): Uint8Array {
    return this.#data;
  }

  /**
   * What the caller is told when it is refused for good: of several sendings the one that was refused speaks for itself
   * alone, and another may have been handled.
   */
  verdict(refusal: BerthError): BerthError {
    const isBlind = refusal.retry === "elsewhere" || BLIND.has(refusal.code);
    if (!this.#isRepeated || this.#isReadOnly || !isBlind) return refusal;
    const message = `No answer came to an earlier sending; the last was refused: ${refusal.message}`;
    return new BerthError("ask.timeout", message, { cause: refusal });
  }
}
