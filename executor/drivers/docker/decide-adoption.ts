/** What a container of ours is to a driver that has just started. Pure. */
import { type WorkerSpec, workerSpecSchema } from "../../../protocols/executor.ts";
import type { Claim } from "./claims.ts";
import { FLAVOUR_LABEL } from "./dormant-pool.ts";
import type { ListedContainer } from "./engine.ts";
import { LABELS } from "./labels.ts";

export type Adoption =
  | { readonly as: "worker" | "ended"; readonly spec: WorkerSpec; readonly isClaimed: boolean }
  | { readonly as: "dormant"; readonly flavour: string }
  /** Of no use to anybody: it goes. */
  | { readonly as: "nothing" };

const NOTHING: Adoption = { as: "nothing" };

export function decideAdoption(
  { labels, state }: Pick<ListedContainer, "labels" | "state">,
  claims: ReadonlyMap<string, Claim>,
): Adoption {
  // A start that was cut off. Whoever wanted it asks again, or is told by a sweep that it does not live.
  if (state === "created") return NOTHING;
  const isAlive = state === "running" || state === "paused";
  if (labels[LABELS.part] === "worker") {
    const spec = specOf(labels[LABELS.spec]);
    return spec ? { as: isAlive ? "worker" : "ended", spec, isClaimed: false } : NOTHING;
  }
  const claim = claims.get(labels[LABELS.incarnation] ?? "");
  if (claim === undefined) {
    // Running: it was not warm yet when its maker went.
    return state === "paused" ? { as: "dormant", flavour: labels[FLAVOUR_LABEL] ?? "" } : NOTHING;
  }
  if (!claim.isTold) return NOTHING; // P2
  return { as: isAlive ? "worker" : "ended", spec: claim.spec, isClaimed: true };
}

function specOf(text: string | undefined): WorkerSpec | undefined {
  try {
    return workerSpecSchema.parse(JSON.parse(text ?? ""));
  } catch {
    return undefined;
  }
}
