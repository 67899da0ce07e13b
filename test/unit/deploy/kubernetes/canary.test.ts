/** Production with a canary, as release.mjs leaves it: in a copy of the tree. */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCommand } from "../../../../deploy/nats/command.ts";
import { buildAt, describeKustomize } from "../../../support/kubernetes/kustomize.ts";
import {
  type Manifest,
  matches,
  nameOf,
  workloadsOf,
} from "../../../support/kubernetes/manifest.ts";
import { podFaults } from "../../../support/kubernetes/pod-faults.ts";
import { referenceFaults } from "../../../support/kubernetes/reference-faults.ts";
import { schemaFaults } from "../../../support/kubernetes/schemas.ts";
import { ROOT } from "../../../support/source.ts";

const RUN_MS = 20_000;
const PARTS = ["kubernetes", "monitoring", "nats/configurations"];

async function afterRelease(...steps: string[]): Promise<Manifest[]> {
  const folder = await mkdtemp(join(tmpdir(), "berth-canary-"));
  try {
    for (const part of PARTS)
      await cp(join(ROOT, "deploy", part), join(folder, part), { recursive: true });
    for (const step of steps) {
      const script = join(folder, "kubernetes", "release.mjs");
      const { code, stderr } = await runCommand(process.execPath, [script, ...step.split(" ")], {
        timeoutMs: RUN_MS,
      });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    }
    return await buildAt(join(folder, "kubernetes/environments/production"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const imagesOf = (manifests: readonly Manifest[]) =>
  Object.fromEntries(
    workloadsOf(manifests).map(({ manifest, pod }) => [
      manifest.metadata.name,
      pod.spec.containers[0]?.image,
    ]),
  );

describeKustomize("a canary", () => {
  it("is one gateway of the next version beside the others, with a tenth of the traffic", async () => {
    const manifests = await afterRelease("canary 0.2.0");
    const images = imagesOf(manifests);
    expect(images).toMatchObject({
      "gateway-canary": "ghcr.io/example/berth-gateway:0.2.0",
      gateway: "ghcr.io/example/berth-gateway:0.1.0",
      node: "ghcr.io/example/berth-node:0.1.0",
    });
    const service = manifests.find(({ kind }) => kind === "VirtualService");
    expect(service).toMatchObject({
      spec: {
        http: [
          {
            route: [
              { destination: { subset: "stable" }, weight: 90 },
              { destination: { subset: "canary" }, weight: 10 },
            ],
          },
        ],
      },
    });
  });

  it("is as whole and as hardened as the others, and none of their pods is its own", async () => {
    const manifests = await afterRelease("canary 0.2.0");
    expect(await schemaFaults(manifests)).toEqual([]);
    expect(referenceFaults(manifests)).toEqual([]);
    const workloads = workloadsOf(manifests);
    expect(workloads.flatMap(podFaults)).toEqual([]);
    const [stable, canary] = ["gateway", "gateway-canary"].map((name) =>
      workloads.find(({ manifest }) => manifest.metadata.name === name),
    );
    expect(matches(stable!.selector, canary!.pod.metadata.labels)).toBe(false);
    expect(matches(canary!.selector, stable!.pod.metadata.labels)).toBe(false);
    expect(JSON.stringify(canary!.pod.spec)).toContain("nats-ca");
  });

  it("that is promoted leaves one version of everything and nothing of itself", async () => {
    const manifests = await afterRelease("canary 0.2.0", "promote");
    expect(imagesOf(manifests)).toMatchObject({
      gateway: "ghcr.io/example/berth-gateway:0.2.0",
      node: "ghcr.io/example/berth-node:0.2.0",
    });
    expect(manifests.map(nameOf).filter((name) => name.includes("canary"))).toEqual([]);
    expect(JSON.stringify(manifests)).toContain('"weight":100');
  });
});
