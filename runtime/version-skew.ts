/**
 * What this build does not know and another does, while two versions run side by side.
 *
 * Invariants:
 * V1 A kind or message counts as served elsewhere while a live node of another run lists it, and for a grace after
 *    the last one was seen: during a roll-out that node may itself be restarting.
 * V2 What nobody lists, or what was not listed for the grace, is unknown to all: it is not waited for.
 */
import type { NodeRecord } from "../protocols/records.ts";
import type { Clock } from "./clock.ts";

/** Longer than the restart of a node; mail that waits for it holds its lane for no longer than this. */
const GRACE_MS = 30_000;

/** A flood of what nobody knows must not cost a look each. */
const OBSERVE_MS = 200;

/** Whether another build takes messages of a kind, or one message of it. */
export type ServedElsewhere = (kind: string, type?: string) => boolean;

export class VersionSkew {
  readonly #clock: Clock;
  readonly #incarnation: string;
  readonly #nodes: () => readonly NodeRecord[];
  /** When each kind, and each message as `kind.type`, was last seen to be served by others. */
  #observedAt = Number.NEGATIVE_INFINITY;
  readonly #seenAt = new Map<string, number>();

  constructor(parts: {
    readonly clock: Clock;
    readonly incarnation: string;
    readonly nodes: () => readonly NodeRecord[];
  }) {
    this.#clock = parts.clock;
    this.#incarnation = parts.incarnation;
    this.#nodes = parts.nodes;
  }

  /** Looks at who is there; to be called every second or so, for V1 to hold. */
  observe(): void {
    const now = this.#clock.monotonic();
    if (now - this.#observedAt < OBSERVE_MS) return;
    this.#observedAt = now;
    for (const [name, at] of this.#seenAt) if (now - at > GRACE_MS) this.#seenAt.delete(name);
    for (const { incarnation, kinds, messages = {} } of this.#nodes()) {
      if (incarnation === this.#incarnation) continue;
      for (const kind of kinds) this.#seenAt.set(kind, now);
      for (const [kind, types] of Object.entries(messages))
        for (const type of types) this.#seenAt.set(`${kind}.${type}`, now);
    }
  }

  readonly servedElsewhere: ServedElsewhere = (kind, type) => {
    this.observe();
    return this.#seenAt.has(type === undefined ? kind : `${kind}.${type}`);
  };
}
