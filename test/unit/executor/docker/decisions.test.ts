import { describe, expect, it } from "vitest";
import { processorNotes } from "../../../../deploy/drivers.ts";
import type { Claim } from "../../../../executor/drivers/docker/claims.ts";
import {
  containerOptions,
  type WorkerSize,
} from "../../../../executor/drivers/docker/container-spec.ts";
import { decideAdoption } from "../../../../executor/drivers/docker/decide-adoption.ts";
import { decideExit } from "../../../../executor/drivers/docker/decide-exit.ts";
import { FLAVOUR_LABEL, flavourKey } from "../../../../executor/drivers/docker/dormant-pool.ts";
import type { ContainerState } from "../../../../executor/drivers/docker/engine.ts";
import { LABELS, partLabels, specLabels } from "../../../../executor/drivers/docker/labels.ts";
import type { WorkerSpec } from "../../../../protocols/executor.ts";
import { tierTable } from "../../../../protocols/tiers.ts";

const OWNER = { deployment: "d", node: "n" };
const spec: WorkerSpec = {
  worker: "wrk_1",
  tenant: "acme",
  user: "ann",
  tier: "pro",
  slots: 3,
  workspace: "user",
  workspace_key: "u-ann",
  cpus: 2,
  memory_bytes: 2 * 1024 ** 3,
  storage_bytes: 1024 ** 3,
  processes: 64,
  network: "user",
  internet: true,
};

describe("what a driver that starts makes of a container", () => {
  const worker = {
    ...partLabels(OWNER, "worker"),
    ...specLabels(spec),
    [LABELS.spec]: JSON.stringify(spec),
  };
  const dormant = {
    ...partLabels(OWNER, "dormant"),
    [LABELS.incarnation]: "dormant-1",
    [FLAVOUR_LABEL]: "f",
  };
  const none = new Map<string, Claim>();
  const claimed = (isTold: boolean) =>
    new Map([["dormant-1", { sandbox: "dormant-1", spec, isTold }]]);
  const decide = (
    labels: Readonly<Record<string, string>>,
    state: ContainerState,
    claims: ReadonlyMap<string, Claim> = none,
  ) => decideAdoption({ labels, state }, claims);

  it("a worker that lives is one still, with all of its spec", () => {
    expect(decide(worker, "running")).toEqual({ as: "worker", spec, isClaimed: false });
  });

  it("a worker that ended meanwhile is told as an exit, not forgotten", () => {
    expect(decide(worker, "exited")).toEqual({ as: "ended", spec, isClaimed: false });
    expect(decide(worker, "dead")).toMatchObject({ as: "ended" });
  });

  it("a start that was cut off goes: whoever wanted it asks again", () => {
    expect(decide(worker, "created")).toEqual({ as: "nothing" });
    expect(decide(dormant, "created")).toEqual({ as: "nothing" });
  });

  it("a worker whose spec cannot be read goes", () => {
    expect(decide({ ...worker, [LABELS.spec]: "{" }, "running")).toEqual({ as: "nothing" });
  });

  it("a dormant one is kept when it is paused, and goes when it was not warm yet", () => {
    expect(decide(dormant, "paused")).toEqual({ as: "dormant", flavour: "f" });
    expect(decide(dormant, "running")).toEqual({ as: "nothing" });
    expect(decide(dormant, "exited")).toEqual({ as: "nothing" });
  });

  it("a dormant one that was claimed and told is its claimer's worker", () => {
    expect(decide(dormant, "running", claimed(true))).toEqual({
      as: "worker",
      spec,
      isClaimed: true,
    });
    expect(decide(dormant, "exited", claimed(true))).toMatchObject({
      as: "ended",
      isClaimed: true,
    });
  });

  it("a dormant one that was claimed and not told goes: nobody knows what half of it stands (P2)", () => {
    for (const state of ["paused", "running"] as const)
      expect(decide(dormant, state, claimed(false))).toEqual({ as: "nothing" });
  });
});

describe("why a worker ended", () => {
  const end = { exitCode: 1, isOutOfMemory: false, memoryLimitBytes: 512 * 1024 ** 2, error: "" };

  it("names the memory limit when the kernel took it for want of memory", () => {
    expect(decideExit({ ...end, exitCode: 137, isOutOfMemory: true }, "")).toEqual({
      code: "worker.out_of_memory",
      reason: "out of memory: its limit is 512 MiB",
    });
  });

  it("does not blame memory for an end that came long after an agent was taken", () => {
    expect(decideExit({ ...end, exitCode: 0, isOutOfMemory: true }, "bye\n").code).toBe(
      "worker.lost",
    );
  });

  it("gives the engine's reason before the worker's last line, and that before none", () => {
    expect(decideExit({ ...end, error: "no such file" }, "x\n").reason).toMatch(/no such file$/);
    expect(decideExit(end, "first\nlast\n").reason).toMatch(/code 1: last$/);
    expect(decideExit(end, "").reason).toBe("its container ended with code 1");
  });

  it("says of a container that is not there that it was removed", () => {
    expect(decideExit(undefined, "").reason).toBe("its container was removed");
  });
});

describe("a worker's container", () => {
  const size: WorkerSize = spec;
  const plan = {
    name: "berth-d-wrk_1",
    image: "berth-executor",
    labels: { a: "b" },
    size,
    env: { BERTH_IDENTITY: "stdin" },
    network: "net",
    mounts: {},
    runtime: undefined,
    processors: 8,
  };
  const options = containerOptions(plan);
  const host = options.HostConfig ?? {};

  it("has its tier's limits, and no swap beyond them", () => {
    expect(host).toMatchObject({
      NanoCpus: 2e9,
      Memory: size.memory_bytes,
      MemorySwap: size.memory_bytes,
      PidsLimit: 64,
    });
  });

  it("gets no more processors than its host has, which the engine would refuse", () => {
    const small = containerOptions({ ...plan, processors: 1 });
    expect(small.HostConfig?.NanoCpus).toBe(1e9);
    expect(processorNotes(tierTable(), 3)).toEqual([
      "workers of tier enterprise get 3 CPUs, not 4: this host has no more",
    ]);
    expect(processorNotes(tierTable(), 4)).toEqual([]);
  });

  it("gives an agent nothing to use against its host", () => {
    expect(options.User).toBe("1000:1000");
    expect(host).toMatchObject({
      ReadonlyRootfs: true,
      Privileged: false,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      IpcMode: "private",
      RestartPolicy: { Name: "no" },
    });
    expect(JSON.stringify(options)).not.toContain("docker.sock");
    expect(host.CapAdd ?? host.Devices ?? host.Binds ?? host.PidMode).toBeUndefined();
  });

  it("asks its own empty container for names, unless its network leads out directly", () => {
    const closed = containerOptions({ ...plan, size: { ...size, internet: false } });
    expect(closed.HostConfig).toMatchObject({ Dns: ["127.0.0.1"], DnsSearch: ["."] });
    expect([host.Dns, host.DnsSearch]).toEqual([undefined, undefined]);
  });

  it("tells nothing secret to whoever looks at it: the identity comes by standard input", () => {
    expect(options.Env).toEqual(["BERTH_IDENTITY=stdin"]);
    expect(options).toMatchObject({ OpenStdin: true, StdinOnce: false, Tty: false });
  });
});

describe("a flavour of dormant workers", () => {
  it("fits any worker of the same size and build, whoever it is for, and no other", () => {
    const key = flavourKey(spec, "b1");
    expect(flavourKey({ ...spec, ...{ tenant: "other", worker: "wrk_2" } }, "b1")).toBe(key);
    expect(flavourKey(spec, "b2")).not.toBe(key);
    expect(flavourKey({ ...spec, internet: false }, "b1")).not.toBe(key);
    expect(flavourKey({ ...spec, memory_bytes: 1 }, "b1")).not.toBe(key);
  });
});
