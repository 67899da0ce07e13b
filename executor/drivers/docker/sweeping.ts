/** Removes what a driver made and nobody wants any more. Each step looks first and may be repeated; what fails stays for the next sweep, and keeps nothing else from going. */
import type { Wanted } from "../driver.ts";
import { slotOf } from "./adoption.ts";
import type { Claims } from "./claims.ts";
import type { Engine } from "./engine.ts";
import { type EngineOwner, filterOf } from "./labels.ts";
import type { Networks } from "./networks.ts";
import type { Roster } from "./roster.ts";
import type { Sandboxes } from "./sandboxes.ts";
import type { Strangers } from "./strangers.ts";
import type { Workspaces } from "./workspaces.ts";

export interface SweepParts {
  readonly engine: Pick<Engine, "list">;
  readonly owner: EngineOwner;
  readonly claims: Pick<Claims, "all" | "release">;
  readonly roster: Roster;
  readonly sandboxes: Pick<Sandboxes, "destroy">;
  readonly networks: Pick<Networks, "sweep">;
  readonly workspaces: Pick<Workspaces, "closeSlot" | "isUsed" | "kept" | "remove" | "slots">;
  readonly strangers: Pick<Strangers, "sweep">;
}

/** Resolves with the names of what went, each after what it is. */
export async function sweepAll(parts: SweepParts, wanted: Wanted): Promise<readonly string[]> {
  return [
    ...(await sweepContainers(parts, wanted)),
    ...(await sweepSlots(parts, wanted)),
    ...(await parts.networks.sweep()).map((name) => `network ${name}`),
    ...(await sweepWorkspaces(parts, wanted)),
    ...(await parts.strangers.sweep(wanted)),
  ];
}

/** A removal failed, or a start was cut off. */
async function sweepContainers(parts: SweepParts, { leave }: Wanted): Promise<string[]> {
  const { claims, engine, owner, roster, sandboxes } = parts;
  const removed: string[] = [];
  for (const { id, labels, name, network } of await engine.list(filterOf(owner))) {
    const slot = slotOf(labels, name);
    if (roster.owns({ container: id, slot })) continue;
    try {
      await sandboxes.destroy({ container: id, slot, network: network?.name });
      removed.push(`container ${name}`);
    } catch (thrown) {
      leave(`container ${name}`, thrown);
    }
  }
  for (const { sandbox } of await claims.all())
    if (!roster.owns({ slot: sandbox })) await claims.release(sandbox);
  return removed;
}

async function sweepSlots(
  { roster, workspaces }: SweepParts,
  { leave }: Wanted,
): Promise<string[]> {
  const removed: string[] = [];
  for (const slot of await workspaces.slots()) {
    if (roster.owns({ slot })) continue;
    try {
      await workspaces.closeSlot(slot);
      removed.push(`slot ${slot}`);
    } catch (thrown) {
      leave(`slot ${slot}`, thrown);
    }
  }
  return removed;
}

async function sweepWorkspaces(
  { roster, workspaces }: SweepParts,
  { isWorkspaceWanted, leave }: Wanted,
): Promise<string[]> {
  const removed: string[] = [];
  for (const workspace of await workspaces.kept()) {
    const { key, tenant } = workspace;
    const isUsed = async () => roster.mayUse(tenant, key) || (await workspaces.isUsed(tenant, key));
    try {
      // Asked again after the answer: a worker may have started meanwhile.
      if ((await isUsed()) || (await isWorkspaceWanted(workspace)) || (await isUsed())) continue;
      await workspaces.remove(tenant, key);
      removed.push(`workspace ${tenant}/${key}`);
    } catch (thrown) {
      leave(`workspace ${tenant}/${key}`, thrown);
    }
  }
  return removed;
}
