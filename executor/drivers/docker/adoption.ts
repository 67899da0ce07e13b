/** A driver that starts takes up what an earlier one of its node had made, and clears away what is of no use to anybody. */
import type { Claims } from "./claims.ts";
import { decideAdoption } from "./decide-adoption.ts";
import type { DormantPool } from "./dormant-pool.ts";
import type { Endings } from "./endings.ts";
import type { Engine, ListedContainer } from "./engine.ts";
import { type EngineOwner, filterOf, LABELS } from "./labels.ts";
import type { Roster } from "./roster.ts";
import type { Sandbox, Sandboxes } from "./sandboxes.ts";

export interface AdoptionParts {
  readonly engine: Engine;
  readonly owner: EngineOwner;
  readonly claims: Claims;
  readonly roster: Roster;
  readonly pool: DormantPool;
  readonly sandboxes: Sandboxes;
  readonly endings: Endings;
}

/** Resolves when the roster and the pool hold all that lives. What had ended meanwhile is told as an exit. */
export async function adoptAll(parts: AdoptionParts): Promise<void> {
  const { claims, endings, engine, owner, pool, roster, sandboxes } = parts;
  const held = new Map((await claims.all()).map((claim) => [claim.sandbox, claim]));
  for (const container of await engine.list(filterOf(owner))) {
    const decision = decideAdoption(container, held);
    const sandbox = sandboxOf(container);
    switch (decision.as) {
      case "worker":
      case "ended": {
        const { isClaimed, spec } = decision;
        const known = { ...sandbox, spec, isClaimed, isEnding: false };
        roster.known.set(spec.worker, known);
        if (decision.as === "ended") await endings.bury(known);
        break;
      }
      case "dormant":
        if (pool.adopt(sandbox, decision.flavour)) break;
        await sandboxes.destroy(sandbox);
        break;
      case "nothing":
        await sandboxes.destroy(sandbox);
        if (held.has(sandbox.slot)) await claims.release(sandbox.slot);
    }
  }
}

function sandboxOf({ id, labels, name, network }: ListedContainer): Sandbox {
  return {
    container: id,
    slot: slotOf(labels, name),
    network: network?.name,
    gateway: network?.gateway ?? "",
    input: undefined,
  };
}

/** The slot of a container of ours. */
export function slotOf(labels: ListedContainer["labels"], name: string): string {
  return labels[LABELS.incarnation] ?? name;
}
