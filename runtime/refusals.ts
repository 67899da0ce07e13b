/**
 * Asks that an activation has refused, lately: another sending of one, that was under way, is refused alike. Its
 * caller may have been told and may have asked anew. Bounded by two generations.
 */
import type { ErrorCode } from "../protocols/errors.ts";

const GENERATION_SIZE = 4_096;

export class Refusals {
  #young = new Map<string, ErrorCode>();
  #old = new Map<string, ErrorCode>();

  add(id: string, code: ErrorCode): void {
    if (this.#young.size >= GENERATION_SIZE) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(id, code);
  }

  of(id: string): ErrorCode | undefined {
    return this.#young.get(id) ?? this.#old.get(id);
  }
}
