import { expect, it } from "vitest";
import type { DormantPool } from "../../../../executor/drivers/docker/dormant-pool.ts";
import type { ListedContainer } from "../../../../executor/drivers/docker/engine.ts";
import { Roster } from "../../../../executor/drivers/docker/roster.ts";
import { sweepAll } from "../../../../executor/drivers/docker/sweeping.ts";
import { BerthError } from "../../../../protocols/errors.ts";

const container = (id: string) => ({ id, name: id, labels: {}, network: undefined });
const removal = (name: string) =>
  name.startsWith("stuck-")
    ? Promise.reject(new BerthError("driver.failed", `${name} is busy`))
    : Promise.resolve();

it("a container or a disk that cannot be removed is left, and keeps nothing else from going", async () => {
  const left: string[] = [];
  const pool = { isMaking: () => false, all: () => [] } as unknown as DormantPool;
  const removed = await sweepAll(
    {
      engine: {
        list: () =>
          Promise.resolve(["stuck-c", "c"].map(container) as unknown as ListedContainer[]),
      },
      owner: { deployment: "d", node: "n1" },
      claims: { all: () => Promise.resolve([]), release: () => Promise.resolve() },
      roster: new Roster(() => pool),
      sandboxes: { destroy: ({ container: id }) => removal(id) },
      networks: { sweep: () => Promise.resolve(["n"]) },
      workspaces: {
        slots: () => Promise.resolve(["stuck-s", "s"]),
        closeSlot: removal,
        kept: () =>
          Promise.resolve(["stuck-w", "w"].map((key) => ({ tenant: "t", key, usedAt: 0 }))),
        isUsed: () => Promise.resolve(false),
        remove: (_tenant, key) => removal(key),
      },
      strangers: { sweep: () => Promise.resolve(["container x of n2"]) },
    },
    {
      workers: new Set(),
      isWorkspaceWanted: () => Promise.resolve(false),
      leave: (what, thrown) => void left.push(`${what}: ${(thrown as Error).message}`),
    },
  );
  expect(removed).toEqual([
    "container c",
    "slot s",
    "network n",
    "workspace t/w",
    "container x of n2",
  ]);
  expect(left).toEqual([
    "container stuck-c: stuck-c is busy",
    "slot stuck-s: stuck-s is busy",
    "workspace t/stuck-w: stuck-w is busy",
  ]);
});
