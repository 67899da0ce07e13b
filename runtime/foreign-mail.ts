/**
 * Mail for kinds of actors that this build does not know, kept for a node that does. It stays in the broker,
 * unacknowledged: when the partition moves, its next owner gets it.
 */
import type { Mail } from "./transport.ts";
import type { ServedElsewhere } from "./version-skew.ts";

/** What one partition keeps of such mail; what comes in excess goes to the dead letters (R7). */
const MAX_BYTES = 4 * 1024 ** 2;

export class ForeignMail {
  readonly #servedElsewhere: ServedElsewhere;
  readonly #held = new Map<string, Mail>();
  #bytes = 0;

  constructor(servedElsewhere: ServedElsewhere) {
    this.#servedElsewhere = servedElsewhere;
  }

  /** False when nobody serves it, or when there is no room. */
  keep(mail: Mail): boolean {
    const name = `${mail.lane}/${mail.seq}`;
    const held = this.#held.get(name);
    const size = mail.size - (held?.size ?? 0);
    if (!this.#servedElsewhere(mail.ref.kind) || this.#bytes + size > MAX_BYTES) return false;
    this.#held.set(name, mail);
    this.#bytes += size;
    return true;
  }

  /** Takes out what nobody serves any more. */
  takeHopeless(): Mail[] {
    const hopeless = [...this.#held].filter(([, { ref }]) => !this.#servedElsewhere(ref.kind));
    for (const [name, { size }] of hopeless) {
      this.#held.delete(name);
      this.#bytes -= size;
    }
    return hopeless.map(([, mail]) => mail);
  }
}
