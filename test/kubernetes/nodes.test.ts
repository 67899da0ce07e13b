/** Several nodes of one deployment in one cluster: what is a node's, and what is everybody's. */
import { describe, expect, it } from "vitest";
import { KubernetesDriver } from "../../executor/drivers/kubernetes/kubernetes.ts";
import { clusterStage } from "../support/cluster-stage.ts";
import { NOTHING_WANTED } from "../support/docker-driver-rig.ts";
import { eventually } from "../support/eventually.ts";
import { orderOf } from "../support/executor-rig.ts";
import { freePort } from "../support/free-port.ts";
import { bridgeAddress } from "../support/kubernetes.ts";
import { kubernetesDriverRig } from "../support/kubernetes-driver-rig.ts";
import { workerSpec } from "../support/worker-specs.ts";

describe("nodes of one deployment", () => {
  const stage = clusterStage();

  it("know each other's workers, and leave them and what they use alone", async () => {
    await using rig = await kubernetesDriverRig(stage.broker(), { namespace: stage.namespace() });
    const other = await rig.open("n2");
    const spec = workerSpec({
      workspace: "user",
      workspace_key: "ann",
      network: "user",
      tier: "pro",
    });
    await rig.driver.start(spec, rig.connection);
    await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
    expect(await other.list()).toEqual([]);
    if (!(other instanceof KubernetesDriver)) throw new Error("another driver was opened");
    const found = await eventually(() => other.find(spec.worker) ?? false, { name: "found" });
    expect(found.spec).toEqual(spec);
    expect(other.tenantAt(found.gateway)).toBe("acme");
    expect(other.tenantAt("10.0.0.1")).toBeUndefined();
    expect(await other.sweep(NOTHING_WANTED)).toEqual([]);
    await expect(other.removeWorkspace("acme", "ann")).rejects.toMatchObject({
      code: "driver.failed",
    });
    expect((await rig.driver.list()).map(({ worker }) => worker)).toEqual([spec.worker]);
    await rig.driver.stop(spec.worker, { keepWorkspace: true });
    // A workspace is the deployment's: any node clears it away.
    expect(await other.sweep(NOTHING_WANTED)).toEqual(["workspace acme/ann"]);
    await other.dispose();
    await rig.reopen();
  });

  it("take a worker's word for who it is from its own pod alone", async () => {
    const port = await freePort("proxy");
    const bridge = await bridgeAddress();
    await using rig = await kubernetesDriverRig(stage.broker(), {
      namespace: stage.namespace(),
      environment: {
        BERTH_DOCKER_PROXY_PORT: String(port),
        BERTH_EGRESS_URL: `http://${bridge}:${port}`,
      },
    });
    const [acme, umbrella] = [workerSpec(), workerSpec({ tenant: "umbrella" })];
    for (const spec of [acme, umbrella]) {
      await rig.driver.start(spec, rig.connection);
      await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
    }
    const said = async (worker: string, script: string) =>
      (await rig.node.run(worker, orderOf("shell", script))).text().trim();
    const proxy = await said(acme.worker, 'echo "$HTTP_PROXY"');
    const status = `curl -s -o /dev/null -w '%{http_code}' -x '${proxy}' http://not.listed.test/`;
    expect(await said(acme.worker, status)).toBe("403");
    expect(await said(umbrella.worker, status)).toBe("407");
  });
});
