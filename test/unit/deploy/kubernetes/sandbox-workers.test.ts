/** An environment that takes in components/sandbox-workers. */
import { expect, it } from "vitest";
import { build, describeKustomize } from "../../../support/kubernetes/kustomize.ts";
import { type Manifest, nameOf, workloadsOf } from "../../../support/kubernetes/manifest.ts";
import { podFaults } from "../../../support/kubernetes/pod-faults.ts";
import { environmentOf, referenceFaults } from "../../../support/kubernetes/reference-faults.ts";
import { schemaFaults } from "../../../support/kubernetes/schemas.ts";
import { buildWith } from "../../../support/kubernetes/taken-in.ts";

const ROLE = "Role berth-execution/berth-workers";

const named = (manifests: readonly Manifest[], name: string) =>
  manifests.find((manifest) => nameOf(manifest) === name);

describeKustomize("an environment with sandboxes for workers", () => {
  it("tells nodes so, and lets them make sandboxes, and pods no more", async () => {
    const manifests = await buildWith("sandbox-workers", "development");
    const node = workloadsOf(manifests).find(({ manifest }) => manifest.metadata.name === "node")!;
    expect(environmentOf(manifests, node)).toMatchObject({ BERTH_KUBERNETES_WORKERS: "sandboxes" });
    const role = named(manifests, ROLE)!;
    expect(role["rules"]).toContainEqual({
      apiGroups: [""],
      resources: ["pods"],
      verbs: ["delete", "list", "watch"],
    });
    expect(JSON.stringify(role["rules"])).toContain("sandboxes");
    expect(await schemaFaults(manifests)).toEqual([]);
    expect(workloadsOf(manifests).flatMap(podFaults)).toEqual([]);
    expect(referenceFaults(manifests)).toEqual([]);
  });

  it("is nothing that others have", async () => {
    const manifests = await build("kubernetes/environments/production");
    expect(JSON.stringify(manifests)).not.toMatch(/sandbox/i);
  });
});
