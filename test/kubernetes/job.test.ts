/** Jobs from the API to a pod and back, by `berth up` as people start it. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { follow } from "../support/docker-berth.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { bridgeAddress, kubectl, workersNamespace } from "../support/kubernetes.ts";
import { JOB_MS, spawnKubernetesBerth } from "../support/kubernetes-berth.ts";
import { startNameServer } from "../support/name-server.ts";

test("a job runs in its user's pod, goes out by the node's proxy alone, finds its files again, and outlives nothing that ends its pod", {
  timeout: 300_000,
}, async () => {
  await using workers = await workersNamespace();
  await using names = await startNameServer("127.0.0.1");
  const house = createServer((_, response) => response.end("house")).listen(0, "127.0.0.1");
  await once(house, "listening");
  const housePort = (house.address() as AddressInfo).port;
  const [bridge, proxyPort] = [await bridgeAddress(), await freePort("proxy")];
  await using up = await spawnKubernetesBerth(workers.name, {
    BERTH_DOCKER_PROXY_PORT: String(proxyPort),
    BERTH_EGRESS_URL: `http://${bridge}:${proxyPort}`,
    BERTH_EGRESS_DNS: names.address,
    BERTH_TIERS: JSON.stringify({
      free: { minWorkers: 0, maxWorkers: 1 },
      pro: {
        cpus: 1,
        egressHosts: [{ host: "npm.house.test", ports: [housePort], allow_private: true }],
      },
      enterprise: { minWorkers: 0 },
    }),
  });
  const { client, deployment, job: ends, pods } = up;
  expect(up.berth.output()).toContain("(driver kubernetes)");

  const first = await ends("hostname; echo kept > note");
  expect(first.end?.type).toBe("job.succeeded");
  const [pod] = pods();
  expect(first.output.trim()).toBe(pod?.name);
  expect(pod?.labels).toMatchObject({
    "berth.deployment": deployment,
    "berth.part": "worker",
    "berth.tier": "pro",
  });

  const out = await ends(
    `curl -s http://npm.house.test:${housePort}/; echo; curl -s http://other.house.test:${housePort}/; echo; curl -s --noproxy '*' -m 5 http://npm.house.test:${housePort}/ || echo no way`,
  );
  expect(out.output).toContain("house\n");
  expect(out.output).toContain("other.house.test is not on the list of hosts");
  expect(out.output).toContain("no way");
  expect([...new Set(names.asked)]).toEqual(["npm.house.test"]);

  // The pod goes while a job runs: the job is told as interrupted, and its user's next one finds the files in another pod.
  const { session_id } = await client.submit({ agent: "shell", prompt: "echo begun; sleep 60" });
  await using reader = follow(client, session_id);
  await eventually(() => expect(reader.output()).toContain("begun"), {
    within: JOB_MS,
    name: "output",
  });
  const gone = pods()[0]?.name ?? "";
  kubectl(["--namespace", workers.name, "delete", "pod", gone, "--force", "--grace-period=0"]);
  await eventually(() => expect(reader.ends()).toHaveLength(1), {
    within: JOB_MS,
    name: "the interrupted job's end",
  });
  expect(reader.ends()[0]?.type).not.toBe("job.succeeded");
  const again = await ends("hostname; cat note");
  expect(again.end?.type).toBe("job.succeeded");
  expect(again.output).toContain("kept");
  expect(again.output).not.toContain(gone);

  await up.end();
  house.close();
});
