/**
 * Answers lately given to asks that may have been sent more than once: another sending, whose reply goes elsewhere or
 * whose first answer was lost with a connection, is given the same. Only what a commit holds is in here (B1). Bounded by
 * two generations; an answer that is not here any more is told as lost.
 */

const GENERATION_BYTES = 128 * 1_024;
/** What an entry takes besides its answer, about. */
const ENTRY_BYTES = 128;

export class RecentAnswers {
  /** Made when needed: most activations never give a doubtful answer. */
  #young: Map<string, Uint8Array> | undefined;
  #old: Map<string, Uint8Array> | undefined;
  #bytes = 0;

  /** `id` is that of the ask. */
  add(id: string, answer: Uint8Array): void {
    const bytes = ENTRY_BYTES + answer.byteLength;
    if (bytes > GENERATION_BYTES) return;
    if (this.#bytes + bytes > GENERATION_BYTES) {
      this.#old = this.#young;
      this.#young = undefined;
      this.#bytes = 0;
    }
    this.#young ??= new Map();
    this.#young.set(id, answer);
    this.#bytes += bytes;
  }

  of(id: string): Uint8Array | undefined {
    return this.#young?.get(id) ?? this.#old?.get(id);
  }
}
