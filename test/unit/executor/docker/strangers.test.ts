import { expect, it } from "vitest";
import type { Engine } from "../../../../executor/drivers/docker/engine.ts";
import { LABELS } from "../../../../executor/drivers/docker/labels.ts";
import { Strangers } from "../../../../executor/drivers/docker/strangers.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const GRACE_MS = 1_000;

/** An engine that holds one container and one network of each node. */
function rigOf(nodes: readonly string[], live: readonly string[]) {
  const clock = new ManualClock();
  const there = new Set(nodes.flatMap((node) => [`c-${node}`, `n-${node}`]));
  const labelled = (kind: string) =>
    nodes
      .filter((node) => there.has(`${kind}-${node}`))
      .map((node) => ({
        id: `${kind}-${node}`,
        name: `${kind}-${node}`,
        labels: { [LABELS.node]: node },
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
  expect(await strangers.sweep()).toEqual([]);
  await clock.advance(GRACE_MS - 1);
  expect(await strangers.sweep()).toEqual([]);
  await clock.advance(1);
  expect(await strangers.sweep()).toEqual(["container c-dead of dead", "network n-dead of dead"]);
  expect([...there].toSorted()).toEqual(["c-alive", "c-me", "n-alive", "n-me"]);
});

it("a node that comes back within the grace starts the count anew", async () => {
  const { clock, liveNodes, strangers } = rigOf(["me", "flaky"], ["me"]);
  await strangers.sweep();
  await clock.advance(GRACE_MS / 2);
  liveNodes.push("flaky");
  await strangers.sweep();
  liveNodes.pop();
  await strangers.sweep();
  await clock.advance(GRACE_MS / 2);
  expect(await strangers.sweep()).toEqual([]);
});
