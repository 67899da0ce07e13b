/** The host of a worker: chosen once, and what is done while it is not there. */
import { chooseHost, type Supervisor } from "../../protocols/actors/supervisor.ts";
import type { ReceivedOf } from "../../protocols/protocol.ts";
import { decideAbsence } from "./decide-absence.ts";
import type { OwnedWorker, SupervisorState, Yard } from "./state.ts";

/** Begun with the wait for capacity, so that it costs a start no time. */
export function askForHost({ ctx }: Yard, worker: OwnedWorker): void {
  const { spec } = worker;
  const home = spec.workspace === "job" ? null : homeOf(ctx.state, spec.workspace_key);
  worker.effect = ctx.execute(chooseHost, { spec, home }, { reply: "hostChosen" });
}

/** Where a workspace is that is kept for good; of the others the record of the kept ones tells. */
export function rememberHome({ ctx, options }: Yard, { spec, host }: OwnedWorker): void {
  if (spec.workspace === "job" || host === null) return;
  if (options.tiers[spec.tier].workspaceKeptMs === null) ctx.state.homes[spec.workspace_key] = host;
}

/** The host that holds the workspace: of a worker that uses it, or that used it last. */
function homeOf({ workers, workspaces, homes }: SupervisorState, key: string): string | null {
  const user = Object.values(workers).find(
    ({ spec, host }) => spec.workspace_key === key && host !== null,
  );
  return user?.host ?? workspaces[key]?.host ?? homes[key] ?? null;
}

/** A reading of workers: who has answered is there; who is away may be gone. Returns those that count as gone. */
export function noteAbsence(
  { ctx, options }: Yard,
  {
    away = [],
    cpu_ms,
  }: NonNullable<ReceivedOf<(typeof Supervisor)["messages"]["verified"]>["output"]>,
): string[] {
  const { workers } = ctx.state;
  for (const id of Object.keys(cpu_ms)) {
    const worker = workers[id];
    if (worker) worker.away_since = null;
  }
  const gone: string[] = [];
  for (const id of away) {
    const worker = workers[id];
    if (worker?.state !== "ready") continue;
    const verdict = decideAbsence(worker.away_since, options.supervisor.hostGraceMs, ctx.now);
    if (verdict.gone) gone.push(id);
    else worker.away_since = verdict.since;
  }
  return gone;
}

/** When the grace of the first absent worker ends; null when none is absent. */
export function nextGraceEnd({ ctx, options }: Yard): number | null {
  const ends = Object.values(ctx.state.workers).flatMap(({ state, away_since }) =>
    state === "ready" && away_since !== null ? [away_since + options.supervisor.hostGraceMs] : [],
  );
  return ends.length === 0 ? null : Math.min(...ends);
}
