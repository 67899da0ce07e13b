/** What addresses are judged by on a node, as it is now and cheap to ask for at each connection. */
import type { Clock } from "../../runtime/clock.ts";
import { type AddressScene, rangesOf } from "./address-class.ts";

export interface AddressScenesParts {
  /** Ranges in which workers live: always the same. */
  readonly workers: readonly string[];
  /** Reads this host's addresses: networks come and go. */
  readonly own: () => readonly string[];
  readonly clock: Clock;
}

/** So long the host's addresses count as they were read. */
const FRESH_MS = 1_000;

export function addressScenes({ workers, own, clock }: AddressScenesParts): () => AddressScene {
  const ranges = rangesOf(workers);
  let known: { readonly at: number; readonly scene: AddressScene } | undefined;
  return () => {
    const now = clock.monotonic();
    if (known === undefined || now - known.at >= FRESH_MS)
      known = { at: now, scene: { own: new Set(own()), workers: ranges } };
    return known.scene;
  };
}
