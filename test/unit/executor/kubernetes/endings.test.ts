import { describe, expect, it } from "vitest";
import type { WorkerExit } from "../../../../executor/drivers/driver.ts";
import { ApiRefusal, CONFLICT, FORBIDDEN } from "../../../../executor/drivers/kubernetes/api.ts";
import { Endings } from "../../../../executor/drivers/kubernetes/endings.ts";
import { type Pod, type RawPod, readPod } from "../../../../executor/drivers/kubernetes/pod.ts";
import { type Known, Roster } from "../../../../executor/drivers/kubernetes/roster.ts";
import { systemClock } from "../../../../runtime/clock.ts";
import { silentLogger } from "../../../../runtime/logger.ts";
import { workerSpec } from "../../../support/worker-specs.ts";

const SANDBOX = { name: "berth-d-w", uid: "s1" };
type Status = NonNullable<RawPod["status"]>;

/** One worker's pod in a cluster that does at once what it is told, and writes it down. */
function stage(status: Status, refusal?: number) {
  const pod = readPod({ metadata: { name: SANDBOX.name, uid: "p1" }, spec: {}, status });
  let there: Pod | undefined = pod;
  const asked: string[] = [];
  const exits: WorkerExit[] = [];
  const roster = new Roster();
  const spec = workerSpec();
  const known: Known = { spec, pod: pod.name, uid: pod.uid, sandbox: SANDBOX, isEnding: false };
  roster.known.set(spec.worker, known);
  const endings = new Endings({
    cluster: {
      deletePod: ({ uid }, grace) => {
        asked.push(`pod ${uid} in ${grace} s`);
        there = undefined;
        return Promise.resolve();
      },
      pod: () => Promise.resolve(there),
      logTail: () => Promise.resolve(""),
      sandboxes: {
        remove: ({ uid }) => {
          asked.push(`sandbox ${uid}`);
          if (refusal !== undefined)
            return Promise.reject(new ApiRefusal(refusal, "sandboxes is forbidden"));
          // As the collector does with its pod, which has ended: nothing but that is to be seen of it any more.
          there &&= { ...there, isLeaving: true };
          return Promise.resolve();
        },
      },
    },
    informer: {
      get: () => there,
      until: (_name, settled) => Promise.resolve(settled(there, 0)),
    },
    roster,
    claims: { touch: () => Promise.resolve(true) },
    logs: { read: () => undefined, save: () => {} },
    clock: systemClock,
    log: silentLogger,
    onExit: (exit) => exits.push(exit),
  });
  return { asked, endings, exits, known, roster };
}

const ended: Status = {
  phase: "Failed",
  containerStatuses: [{ name: "worker", state: { terminated: { exitCode: 3 } } }],
};

describe("the end of a worker that a sandbox would make again", () => {
  it("begins with the sandbox when it is stopped (K6)", async () => {
    const { asked, endings, known, roster } = stage({ phase: "Running" });
    await endings.stop(known, 1_000);
    expect(asked).toEqual(["sandbox s1", "pod p1 in 1 s", "pod p1 in 0 s"]);
    expect(roster.known.size).toBe(0);
  });

  it("begins with the sandbox when it ended by itself, and is told as it was (K2, K6)", async () => {
    const { asked, endings, exits } = stage(ended);
    await endings.look();
    expect(asked[0]).toBe("sandbox s1");
    expect(exits.map(({ reason }) => reason)).toEqual(["its container ended with code 3"]);
  });

  it("is an end also where the sandbox may not be removed any more", async () => {
    const { asked, endings, known, roster } = stage({ phase: "Running" }, FORBIDDEN);
    await endings.stop(known, 1_000);
    expect(asked).toContain("pod p1 in 0 s");
    expect(roster.known.size).toBe(0);
  });

  it("has not begun while the cluster refuses it for another reason: it is tried again", async () => {
    const { asked, endings, known, roster } = stage({ phase: "Running" }, CONFLICT);
    await expect(endings.stop(known, 1_000)).rejects.toMatchObject({ code: "driver.failed" });
    expect(asked).toEqual(["sandbox s1"]);
    expect(known.isEnding).toBe(false);
    expect(roster.known.size).toBe(1);
  });
});

describe("a pod that nobody wants", () => {
  const leftover = { name: SANDBOX.name, uid: "p1", sandbox: SANDBOX };

  it("goes after its sandbox (K6)", async () => {
    const { asked, endings } = stage({ phase: "Pending" });
    await endings.remove(leftover);
    expect(asked).toEqual(["sandbox s1", "pod p1 in 0 s"]);
  });

  it("stays where its sandbox may not be removed, and is not made again without end", async () => {
    const { asked, endings } = stage({ phase: "Pending" }, FORBIDDEN);
    await expect(endings.remove(leftover)).rejects.toMatchObject({ answered: FORBIDDEN });
    expect(asked).toEqual(["sandbox s1"]);
  });
});
