/**
 * Removes workers' pods, and what makes them, that nobody wants any more: of starts that were cut off, of removals that failed, and
 * of nodes that are gone. What cannot be removed is left, and keeps nothing else from going.
 */
import type { Wanted } from "../driver.ts";
import type { Endings } from "./endings.ts";
import type { ClusterOwner } from "./labels.ts";
import type { Pod } from "./pod.ts";
import type { PodInformer } from "./pod-informer.ts";
import type { PodMaker } from "./pod-maker.ts";
import type { Roster } from "./roster.ts";
import type { Sandbox, Sandboxes } from "./sandboxes.ts";
import type { Strangers } from "./strangers.ts";

export interface SweepParts {
  readonly owner: ClusterOwner;
  readonly informer: Pick<PodInformer, "all" | "get">;
  readonly maker: Pick<PodMaker, "keep" | "owners">;
  readonly cluster: { readonly sandboxes: Pick<Sandboxes, "remove"> };
  readonly strangers: Pick<Strangers, "among">;
  readonly endings: Pick<Endings, "remove">;
  readonly roster: Roster;
}

type Leave = Wanted["leave"];

/** Resolves with the names of what went, each after what it is. */
export async function sweepWorkers(
  parts: SweepParts,
  { leave, workers }: Pick<Wanted, "leave" | "workers">,
): Promise<string[]> {
  const { cluster, endings, informer, owner, roster, strangers } = parts;
  const idle = await idleSandboxes(parts, leave);
  const there = informer.all();
  // Asked once, with everything.
  const gone = new Set<Pod | Sandbox>(strangers.among([...there, ...idle], workers));
  const isLost = (one: Pod | Sandbox) =>
    gone.has(one) || (one.node === owner.node && !roster.owns(one));
  const pods = there.filter(isLost);
  const sandboxes = idle.filter(isLost);
  return [
    ...(await removeEach("pod", pods, (pod) => endings.remove(pod), leave)),
    ...(await removeEach("sandbox", sandboxes, (one) => cluster.sandboxes.remove(one), leave)),
  ];
}

/** Those without a pod: one that has a pod goes with it. Puts off the end of those whose workers are ours. */
async function idleSandboxes(
  { informer, maker, roster }: SweepParts,
  leave: Leave,
): Promise<Sandbox[]> {
  try {
    const owners = (await maker.owners()).filter(({ isLeaving }) => !isLeaving);
    const kept = owners.filter((one) => roster.ownsSandbox(one));
    await maker.keep(kept);
    return owners.filter((one) => !kept.includes(one) && !informer.get(one.name));
  } catch (thrown) {
    leave("sandboxes", thrown);
    return [];
  }
}

async function removeEach<T extends { readonly name: string }>(
  what: string,
  things: readonly T[],
  remove: (thing: T) => Promise<void>,
  leave: Leave,
): Promise<string[]> {
  const removed: string[] = [];
  for (const thing of things) {
    const name = `${what} ${thing.name}`;
    try {
      await remove(thing);
      removed.push(name);
    } catch (thrown) {
      leave(name, thrown);
    }
  }
  return removed;
}
