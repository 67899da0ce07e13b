/** Workspaces that outlive their worker: kept as long as the tier says, then removed. */
import { removeWorkspace, type Supervisor } from "../../protocols/actors/supervisor.ts";
import type { ReceivedOf } from "../../protocols/protocol.ts";
import type { DeepReadonly } from "../../runtime/actor.ts";
import { backoffMs } from "../backoff.ts";
import type { ActorOptions } from "../options.ts";
import type { OwnedWorker, SupervisorState, Yard } from "./state.ts";

/** The worker has gone: its workspace waits for the next one, or for its end. */
export function keepWorkspace({ ctx, options }: Yard, { spec, host }: OwnedWorker): void {
  const keptMs = options.tiers[spec.tier].workspaceKeptMs;
  if (spec.workspace === "job" || keptMs === null) return;
  const { workspace_key } = spec;
  if (isUsed({ ctx, options }, workspace_key)) return;
  // Not claimed yet by a worker that never came to its start.
  if (ctx.state.workspaces[workspace_key]) return;
  const reminder = ctx.newId("space");
  ctx.state.workspaces[workspace_key] = { host, reminder, effect: null, tries: 0 };
  ctx.remind("workspaceDue", { workspace_key }, { afterMs: keptMs }, reminder);
}

/** A worker wants the workspace. False while it is being removed: the worker must wait for that to end. */
export function claimWorkspace({ ctx }: Yard, key: string): boolean {
  const kept = ctx.state.workspaces[key];
  if (!kept) return true;
  if (kept.effect !== null) return false;
  ctx.forget(kept.reminder);
  delete ctx.state.workspaces[key];
  return true;
}

export function workspaceDue({ ctx, options }: Yard, key: string): void {
  const kept = ctx.state.workspaces[key];
  if (!kept || kept.effect !== null) return;
  if (isUsed({ ctx, options }, key)) {
    delete ctx.state.workspaces[key];
    return;
  }
  const { tenant } = ctx.self;
  const input = { host: kept.host, tenant, workspace_key: key };
  kept.effect = ctx.execute(removeWorkspace, input, { reply: "workspaceRemoved" });
}

/** Returns the key of the workspace that is free now, so that workers that waited may start. */
export function workspaceRemoved(
  { ctx, options }: Yard,
  { effect, error }: ReceivedOf<(typeof Supervisor)["messages"]["workspaceRemoved"]>,
): string | undefined {
  const found = Object.entries(ctx.state.workspaces).find(([, kept]) => kept.effect === effect);
  if (!found) return undefined;
  const [key, kept] = found;
  kept.effect = null;
  kept.tries += 1;
  const again = error && !isUsed({ ctx, options }, key);
  if (again && kept.tries < options.supervisor.maxStops) {
    const afterMs = backoffMs(kept.tries, options.supervisor.startBackoff);
    ctx.remind("workspaceDue", { workspace_key: key }, { afterMs }, kept.reminder);
    return key;
  }
  if (again)
    ctx.log.error({ workspace: key, code: error.code }, "a workspace could not be removed");
  delete ctx.state.workspaces[key];
  return key;
}

/** True while a worker uses it or will, while its end is still to come, and for good where the tier says so; else null. */
export function isWorkspaceWanted(
  state: DeepReadonly<SupervisorState>,
  key: string,
  { tiers }: ActorOptions,
): true | null {
  const { tenant, workspaces } = state;
  const isKeptForGood = tenant !== null && tiers[tenant.tier].workspaceKeptMs === null;
  return isKeptForGood || Object.hasOwn(workspaces, key) || hasUser(state, key) ? true : null;
}

function isUsed({ ctx }: Yard, key: string): boolean {
  return hasUser(ctx.state, key);
}

function hasUser({ workers }: DeepReadonly<SupervisorState>, key: string): boolean {
  return Object.values(workers).some(({ spec }) => spec.workspace_key === key);
}
