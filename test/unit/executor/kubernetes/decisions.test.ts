import { describe, expect, it } from "vitest";
import { decideExit } from "../../../../executor/drivers/kubernetes/decide-exit.ts";
import { decideStart } from "../../../../executor/drivers/kubernetes/decide-start.ts";
import { hasEnded, type RawPod, readPod } from "../../../../executor/drivers/kubernetes/pod.ts";

type Status = NonNullable<RawPod["status"]>;

const podWith = (status: Status, metadata: Partial<RawPod["metadata"]> = {}) =>
  readPod({ metadata: { name: "berth-d-w", uid: "1", ...metadata }, spec: {}, status });
const waiting = (reason: string, message = "") =>
  podWith({ containerStatuses: [{ name: "worker", state: { waiting: { reason, message } } }] });
const ended = (exitCode: number, reason: string, phase = "Failed") =>
  podWith({
    phase,
    containerStatuses: [{ name: "worker", state: { terminated: { exitCode, reason } } }],
  });
const running = podWith({
  phase: "Running",
  containerStatuses: [{ name: "worker", state: { running: {} } }],
});
const unplaced = podWith({
  conditions: [
    { type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/1 nodes" },
  ],
});

describe("a pod that starts", () => {
  const start = (pod: Parameters<typeof decideStart>[0], waitedMs = 0) =>
    decideStart(pod, { waitedMs, placeWithinMs: 20_000 });

  it("runs once its worker's container does, and also when that has ended since", () => {
    expect(start(running)).toEqual({ as: "runs" });
    expect(start(ended(1, "Error"))).toEqual({ as: "runs" });
  });

  it("waits while its image is pulled and its volumes are mounted", () => {
    expect(start(podWith({}))).toEqual({ as: "waits" });
    expect(start(waiting("ContainerCreating"), 60_000)).toEqual({ as: "waits" });
    expect(start(waiting("PodInitializing"))).toEqual({ as: "waits" });
  });

  it.each([
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
  ])("has failed at once with %s, in the runtime's words", (reason) => {
    expect(start(waiting(reason, "no such image"))).toEqual({
      as: "failed",
      code: "driver.failed",
      reason: `${reason}: no such image`,
    });
  });

  it("has failed when a container before its worker's did, with that one's last words", () => {
    const pod = podWith({
      phase: "Failed",
      initContainerStatuses: [
        { name: "identity", state: { terminated: { exitCode: 1, message: "denied\n" } } },
      ],
      containerStatuses: [{ name: "worker", state: { waiting: { reason: "PodInitializing" } } }],
    });
    expect(start(pod)).toMatchObject({ as: "failed", reason: expect.stringMatching(/1: denied$/) });
  });

  it("may wait for a place for a while, and is then said to be too much for the cluster", () => {
    expect(start(unplaced, 19_999)).toEqual({ as: "waits" });
    expect(start(unplaced, 20_000)).toEqual({
      as: "failed",
      code: "capacity.exhausted",
      reason: "no place in the cluster: 0/1 nodes",
    });
  });

  it("has failed when it is removed, or told to end", () => {
    expect(start(undefined)).toMatchObject({ as: "failed", code: "driver.failed" });
    const leaving = podWith({ phase: "Running" }, { deletionTimestamp: "2026-01-01T00:00:00Z" });
    expect(start(leaving)).toMatchObject({ as: "failed", code: "driver.failed" });
  });
});

describe("a pod's end", () => {
  const exit = (pod: Parameters<typeof decideExit>[0], log = "") =>
    decideExit(pod, { log, memoryBytes: 512 * 1024 ** 2, isConfirmed: true });

  it("is told as out of memory, with the limit", () => {
    expect(exit(ended(137, "OOMKilled"))).toEqual({
      code: "worker.out_of_memory",
      reason: "out of memory: its limit is 512 MiB",
    });
  });

  it("is told with its exit code and last line otherwise", () => {
    expect(exit(ended(1, "Error"), "a\nit broke\n")).toEqual({
      code: "worker.lost",
      reason: "its container ended with code 1: it broke",
    });
  });

  it("is told as an eviction, in the machine's words", () => {
    const pod = podWith({ phase: "Failed", reason: "Evicted", message: "low on memory" });
    expect(exit(pod).reason).toBe("its pod was evicted: low on memory");
  });

  it("is told as a lost machine when the cluster says so, or the machine confirms nothing", () => {
    const conditions = [
      { type: "DisruptionTarget", status: "True", reason: "DeletionByTaintManager" },
    ];
    expect(exit(podWith({ conditions })).reason).toBe("its pod's machine was lost");
    expect(exit(podWith({ reason: "NodeLost" })).reason).toBe("its pod's machine was lost");
    const leaving = podWith({ phase: "Running" }, { deletionTimestamp: "2026-01-01T00:00:00Z" });
    const view = { log: "", memoryBytes: 1, isConfirmed: false };
    expect(decideExit(leaving, view).reason).toBe("its pod's machine was lost");
  });

  it("is told as somebody's wish, and as a removal where nothing else is known", () => {
    const leaving = podWith({ phase: "Running" }, { deletionTimestamp: "2026-01-01T00:00:00Z" });
    expect(exit(leaving).reason).toBe("its pod was told to end by the cluster");
    expect(exit(undefined).reason).toBe("its pod was removed");
  });

  it("has come when all its containers ended, not when some did", () => {
    const [over, runs] = [{ terminated: { exitCode: 0 } }, { running: {} }];
    const both = (worker: object) =>
      podWith({
        phase: "Running",
        initContainerStatuses: [{ name: "identity", state: over }],
        containerStatuses: [{ name: "worker", state: worker }],
      });
    expect(hasEnded(both(runs))).toBe(false);
    expect(hasEnded(both(over))).toBe(true);
    expect(hasEnded(podWith({ initContainerStatuses: [{ name: "identity", state: over }] }))).toBe(
      false,
    );
  });
});
