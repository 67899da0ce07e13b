/** Jobs in sandboxes, by `berth up` as people start it. */
import { expect, test } from "vitest";
import { follow } from "../support/docker-berth.ts";
import { eventually } from "../support/eventually.ts";
import { sandboxStage } from "../support/kubernetes/sandbox-stage.ts";
import { kubectl } from "../support/kubernetes.ts";
import { JOB_MS, spawnKubernetesBerth } from "../support/kubernetes-berth.ts";

const stage = sandboxStage();

test("a job runs in its user's sandbox, and ends once when its pod is made again while nobody looks", {
  timeout: 300_000,
}, async () => {
  const namespace = stage.namespace();
  await using up = await spawnKubernetesBerth(namespace, { BERTH_KUBERNETES_WORKERS: "sandboxes" });
  const { berth, client, pods } = up;
  const sandboxes = () =>
    kubectl(["--namespace", namespace, "get", "sandboxes", "--output=name"])
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.replace(/^.*\//, ""));
  const first = await up.job("hostname");
  expect(first.end?.type).toBe("job.succeeded");
  expect([first.output.trim()]).toEqual(sandboxes());

  const { session_id } = await client.submit({ agent: "shell", prompt: "echo begun; sleep 60" });
  await using reader = follow(client, session_id);
  await eventually(() => expect(reader.output()).toContain("begun"), {
    within: JOB_MS,
    name: "output",
  });
  const [before] = pods();
  const name = before?.name ?? "";
  await berth.kill();
  kubectl(["--namespace", namespace, "delete", "pod", name, "--force", "--grace-period=0"]);
  await eventually(
    () => {
      const again = pods().find((pod) => pod.name === name);
      expect(again).toBeDefined();
      expect(again?.uid).not.toBe(before?.uid);
    },
    { within: 20_000, name: "the pod is made again" },
  );
  await berth.start();
  await eventually(() => expect(reader.ends()).toHaveLength(1), {
    within: JOB_MS,
    name: "the interrupted job's end",
  });
  expect(reader.ends()[0]?.type).not.toBe("job.succeeded");
  await eventually(() => expect(sandboxes()).not.toContain(name), {
    within: 60_000,
    name: "its sandbox is gone",
  });

  const next = await up.job("hostname");
  expect(next.end?.type).toBe("job.succeeded");
  expect(next.output).not.toContain(name);
  await up.end();
  expect(sandboxes()).toEqual([]);
});
