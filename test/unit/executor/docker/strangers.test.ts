import { expect, it } from "vitest";
import type { Engine } from "../../../../executor/drivers/docker/engine.ts";
import { LABELS, type Labels } from "../../../../executor/drivers/docker/labels.ts";
import { Strangers } from "../../../../executor/drivers/docker/strangers.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const GRACE_MS = 1_000;
const NONE = {
  workers: new Set<string>(),
  leave: (_what: string, thrown: unknown) => {
    throw thrown;
  },
};

/** An engine that holds one container and one network of each node. */
function rigOf(
  nodes: readonly string[],
  live: readonly string[],
  more: { readonly labels?: Labels; readonly name?: string } = {},
) {
  const clock = new ManualClock();
  const there = new Set(nodes.flatMap((node) => [`c-${node}`, `n-${node}`]));
  const labelled = (kind: string) =>
    nodes
      .filter((node) => there.has(`${kind}-${node}`))
      .map((node) => ({
        id: `${kind}-${node}`,
        name: more.name ?? `${kind}-${node}`,
        labels: { [LABELS.node]: node, ...more.labels },
      }));
  const liveNodes = [...live];
  const engine = {
    list: () => Promise.resolve(labelled("c")),
    networks: () => Promise.resolve(labelled("n")),
    remove: (id: string) => Promise.resolve(void there.delete(id)),
    removeNetwork: (name: string) => Promise.resolve(there.delete(name)),
  } as unknown as Engine;
  const owner = { deployment: "d", node: "me" };
  const strangers = new Strangers({
    engine,
    owner,
    liveNodes: () => liveNodes,
    graceMs: GRACE_MS,
    clock,
  });
  return { clock, there, liveNodes, strangers };
}

it("a node's things are left alone while it lives, and go a grace after it was found dead (R1)", async () => {
  const { clock, strangers, there } = rigOf(["me", "alive", "dead"], ["me", "alive"]);
  expect(await strangers.sweep(NONE)).toEqual([]);
  await clock.advance(GRACE_MS - 1);
  expect(await strangers.sweep(NONE)).toEqual([]);
  await clock.advance(1);
  expect(await strangers.sweep(NONE)).toEqual([
    "container c-dead of dead",
    "network n-dead of dead",
  ]);
  expect([...there].toSorted()).toEqual(["c-alive", "c-me", "n-alive", "n-me"]);
});

it("a node that comes back within the grace starts the count anew", async () => {
  const { clock, liveNodes, strangers } = rigOf(["me", "flaky"], ["me"]);
  await strangers.sweep(NONE);
  await clock.advance(GRACE_MS / 2);
  liveNodes.push("flaky");
  await strangers.sweep(NONE);
  liveNodes.pop();
  await strangers.sweep(NONE);
  await clock.advance(GRACE_MS / 2);
  expect(await strangers.sweep(NONE)).toEqual([]);
});

it("a worker of a dead node goes on while it is on record, by its label or by its name (R1)", async () => {
  for (const told of [{ labels: { [LABELS.incarnation]: "wrk_1" } }, { name: "berth-d-wrk_1" }]) {
    const { clock, strangers, there } = rigOf(["dead"], ["me"], told);
    const onRecord = { ...NONE, workers: new Set(["wrk_1"]) };
    await strangers.sweep(onRecord);
    await clock.advance(GRACE_MS);
    await strangers.sweep(onRecord);
    expect(there.has("c-dead")).toBe(true);
    await strangers.sweep(NONE);
    expect(there.has("c-dead")).toBe(false);
  }
});
