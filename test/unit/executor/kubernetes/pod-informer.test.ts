import { describe, expect, it } from "vitest";
import { type PodEvent, WatchExpired } from "../../../../executor/drivers/kubernetes/cluster.ts";
import { type Pod, readPod } from "../../../../executor/drivers/kubernetes/pod.ts";
import { PodInformer } from "../../../../executor/drivers/kubernetes/pod-informer.ts";
import { systemClock } from "../../../../runtime/clock.ts";
import { silentLogger } from "../../../../runtime/logger.ts";
import { eventually } from "../../../support/eventually.ts";

const podOf = (name: string, uid = name) => readPod({ metadata: { name, uid }, spec: {} });
const seen = (pod: Pod, version: string): PodEvent => ({
  type: "seen",
  pod,
  resourceVersion: version,
});
const removed = (pod: Pod, version: string): PodEvent => ({
  type: "removed",
  pod,
  resourceVersion: version,
});

interface Stream {
  readonly from: string;
  readonly tell: (event: PodEvent) => void;
  readonly end: (thrown?: Error) => void;
}

/** A cluster of which a test decides each answer. */
class ClusterDouble {
  list: readonly Pod[] = [];
  version = "1";
  lists = 0;
  readonly streams: Stream[] = [];

  pods() {
    this.lists += 1;
    return Promise.resolve({ pods: this.list, resourceVersion: this.version });
  }

  watchPods(
    { resourceVersion: from }: { readonly resourceVersion: string },
    on: { readonly open: () => void; readonly event: (event: PodEvent) => void },
    signal: AbortSignal,
  ): Promise<void> {
    on.open();
    return new Promise((resolve, reject) => {
      const end = (thrown?: Error) => (thrown === undefined ? resolve() : reject(thrown));
      this.streams.push({ from, tell: on.event, end });
      signal.addEventListener("abort", () => resolve());
    });
  }
}

async function started(list: readonly Pod[] = []) {
  const cluster = new ClusterDouble();
  cluster.list = list;
  const told: string[] = [];
  const informer = new PodInformer({
    cluster,
    selector: "",
    clock: systemClock,
    log: silentLogger,
  });
  let opened = 0;
  informer.listen({
    changed: (name) => told.push(name),
    opened: () => {
      opened += 1;
    },
  });
  await informer.open();
  told.length = 0;
  const closing = new AbortController();
  const running = informer.run(closing.signal);
  const stream = async (nth: number) => {
    await eventually(() => cluster.streams.length > nth, { name: `stream ${nth}` });
    return cluster.streams[nth] as Stream;
  };
  return {
    cluster,
    informer,
    told,
    stream,
    opened: () => opened,
    names: () => informer.all().map(({ name }) => name),
    async [Symbol.asyncDispose]() {
      closing.abort();
      await running;
    },
  };
}

describe("what is known of pods", () => {
  it("goes on where a stream ended, without another list, and says each time that it is open", async () => {
    await using rig = await started([podOf("a")]);
    const first = await rig.stream(0);
    expect(first.from).toBe("1");
    first.tell(seen(podOf("b"), "5"));
    first.tell({ type: "bookmark", resourceVersion: "9" });
    first.end();
    expect((await rig.stream(1)).from).toBe("9");
    (await rig.stream(1)).end(new Error("broken"));
    expect((await rig.stream(2)).from).toBe("9");
    expect(rig.cluster.lists).toBe(1);
    expect(rig.opened()).toBe(3);
    expect(rig.names()).toEqual(["a", "b"]);
  });

  it("is listed again where the cluster has forgotten that place, and what vanished meanwhile is told", async () => {
    await using rig = await started([podOf("a"), podOf("b")]);
    const first = await rig.stream(0);
    rig.cluster.list = [podOf("b"), podOf("c")];
    rig.cluster.version = "40";
    first.end(new WatchExpired("too old"));
    expect((await rig.stream(1)).from).toBe("40");
    expect(rig.names()).toEqual(["b", "c"]);
    expect(rig.told).toEqual(["a", "b", "c"]);
  });

  it("keeps a newer pod when the removal of an older one of its name comes late", async () => {
    await using rig = await started([podOf("a", "new")]);
    (await rig.stream(0)).tell(removed(podOf("a", "old"), "7"));
    expect(rig.names()).toEqual(["a"]);
    (await rig.stream(0)).tell(removed(podOf("a", "new"), "8"));
    expect(rig.names()).toEqual([]);
  });

  it("wakes who waits for a pod at its change, and lets go who waited long enough", async () => {
    await using rig = await started();
    const comes = rig.informer.until("a", (pod) => pod?.uid, 10_000);
    (await rig.stream(0)).tell(seen(podOf("a", "u1"), "2"));
    expect(await comes).toBe("u1");
    expect(await rig.informer.until("b", (pod) => pod?.uid, 5)).toBeUndefined();
  });
});
