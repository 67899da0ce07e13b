import { describe, expect, it } from "vitest";
import { type Pod, readPod } from "../../../../executor/drivers/kubernetes/pod.ts";
import { Roster } from "../../../../executor/drivers/kubernetes/roster.ts";
import { readSandbox, type Sandbox } from "../../../../executor/drivers/kubernetes/sandboxes.ts";
import { type SweepParts, sweepWorkers } from "../../../../executor/drivers/kubernetes/sweeping.ts";
import { BerthError } from "../../../../protocols/errors.ts";

const annotations = { "berth.node": "n1" };
const meta = (name: string) => ({ metadata: { name, uid: `${name}-uid`, annotations } });
const pod = (name: string) => readPod({ ...meta(name), spec: {} });
const sandbox = (name: string) => readSandbox({ ...meta(name), spec: {} });

/** A node that started none of what there is, in a cluster that refuses to remove what is called `stuck-...`. */
class Stage {
  readonly left: string[] = [];
  readonly pods: Pod[];
  owners: () => Promise<readonly Sandbox[]>;

  constructor(pods: readonly string[], sandboxes: readonly string[]) {
    this.pods = pods.map(pod);
    this.owners = () => Promise.resolve(sandboxes.map(sandbox));
  }

  sweep(): Promise<string[]> {
    const remove = ({ name }: { readonly name: string }) =>
      name.startsWith("stuck-")
        ? Promise.reject(new BerthError("driver.failed", `${name} is still there`))
        : Promise.resolve();
    const parts: SweepParts = {
      owner: { deployment: "d", node: "n1" },
      informer: { all: () => this.pods, get: (name) => this.pods.find((one) => one.name === name) },
      maker: { owners: () => this.owners(), keep: () => Promise.resolve() },
      cluster: { sandboxes: { remove } },
      strangers: { among: () => [] },
      endings: { remove },
      roster: new Roster(),
    };
    const leave = (what: string) => void this.left.push(what);
    return sweepWorkers(parts, { workers: new Set(), leave });
  }
}

describe("a sweep of a cluster", () => {
  it("takes pods, and sandboxes that have none: one with a pod goes with that", async () => {
    const stage = new Stage(["a", "b"], ["b", "c"]);
    expect(await stage.sweep()).toEqual(["pod a", "pod b", "sandbox c"]);
    expect(stage.left).toEqual([]);
  });

  it("goes on past what cannot be removed, and says what that was", async () => {
    const stage = new Stage(["stuck-pod", "b"], ["stuck-sandbox", "d"]);
    expect(await stage.sweep()).toEqual(["pod b", "sandbox d"]);
    expect(stage.left).toEqual(["pod stuck-pod", "sandbox stuck-sandbox"]);
  });

  it("takes pods while nobody can say which sandboxes there are", async () => {
    const stage = new Stage(["a"], []);
    stage.owners = () => Promise.reject(new BerthError("driver.unavailable", "no sandboxes here"));
    expect(await stage.sweep()).toEqual(["pod a"]);
    expect(stage.left).toEqual(["sandboxes"]);
  });
});
