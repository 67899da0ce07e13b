/**
 * What a driver has in its engine at this moment: workers that live, those that start, and the dormant ones.
 *
 * Invariant:
 * O1 From the first step of a start to the end of a removal a thing is in here, so that no sweep takes it for nobody's.
 */
import type { WorkerSpec } from "../../../protocols/executor.ts";
import type { DormantPool } from "./dormant-pool.ts";
import type { Sandbox } from "./sandboxes.ts";

export interface Known extends Sandbox {
  readonly spec: WorkerSpec;
  /** Its container was a dormant one. */
  readonly isClaimed: boolean;
  /** Set while its end is under way: then nothing else ends it, or tells of it. */
  isEnding: boolean;
}

/** How a dormant worker's slot begins. */
export const DORMANT_PREFIX = "dormant-";

export class Roster {
  readonly known = new Map<string, Known>();
  readonly starting = new Map<string, Promise<void>>();
  readonly #pool: () => DormantPool;

  constructor(pool: () => DormantPool) {
    this.#pool = pool;
  }

  byContainer(id: string): Known | undefined {
    return [...this.known.values()].find(({ container }) => container === id);
  }

  /** Whose workers are in the network with this gateway; undefined for a shared one, and where nobody is. */
  tenantAt(gateway: string): string | undefined {
    const inside = [...this.known.values()].find((one) => one.gateway === gateway);
    return inside?.spec.network === "shared" ? undefined : inside?.spec.tenant;
  }

  /** O1. */
  owns({ container, slot }: { readonly container?: string; readonly slot: string }): boolean {
    const pool = this.#pool();
    if (this.starting.has(slot) || pool.isMaking(slot)) return true;
    // One that is being claimed is the pool's no more and nobody's yet.
    if (this.starting.size > 0 && slot.startsWith(DORMANT_PREFIX)) return true;
    const held: readonly Sandbox[] = [...this.known.values(), ...pool.all()];
    return held.some((one) =>
      container === undefined ? one.slot === slot : one.container === container,
    );
  }

  /** Also while a worker starts, whose workspace is not bound yet. */
  mayUse(tenant: string, key: string): boolean {
    if (this.starting.size > 0) return true;
    return [...this.known.values()].some(
      ({ spec }) => spec.tenant === tenant && spec.workspace_key === key,
    );
  }
}
