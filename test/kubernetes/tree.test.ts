/**
 * The tree, shown to a real API server: what would be made of it, by the server's own word and with nothing made. What this
 * version of the server does not serve is counted and named; where an older version of the same API has it, that one is asked.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { build, describeKustomize } from "../support/kubernetes/kustomize.ts";
import { type Manifest, nameOf } from "../support/kubernetes/manifest.ts";
import { isForeign } from "../support/kubernetes/schemas.ts";
import { NAMESPACES, ServedApi } from "../support/kubernetes/served.ts";
import { kubectl } from "../support/kubernetes.ts";

const FOLDERS = [
  ...["development", "staging", "production"].map((name) => `environments/${name}`),
  ...["monitoring", "logging", "cert-manager", "external-secrets", "argo-cd"].map(
    (name) => `platform/${name}`,
  ),
];

describeKustomize("the tree on a real API server", () => {
  let api: ServedApi;
  // Namespaces of ours are there under other names for the time of the test: others may have the real ones.
  beforeAll(() => {
    api = new ServedApi();
    for (const name of NAMESPACES) kubectl(["create", "namespace", api.named(name)]);
  });
  afterAll(() => {
    const names = NAMESPACES.map((name) => api.named(name));
    kubectl(["delete", "namespace", ...names, "--wait=false", "--ignore-not-found"]);
  });

  const show = (items: readonly Manifest[], ...by: string[]) =>
    kubectl(
      [...by, "--dry-run=server", "--validate=strict", "--output=name", "--filename=-"],
      JSON.stringify({ apiVersion: "v1", kind: "List", items }),
    )
      .split("\n")
      .filter((line) => line !== "");
  /** Servers of that age fail to merge an APIService with nothing. */
  const isMerged = ({ kind }: Manifest) => kind !== "APIService" || !api.isOld;

  it.for(FOLDERS)(
    "%s is taken, but for what others bring to a cluster",
    async (folder, { annotate }) => {
      const manifests = await build(`kubernetes/${folder}`);
      const items = manifests
        .map((manifest) => api.fit(manifest))
        .filter((manifest) => manifest !== undefined);
      const skipped = manifests.filter((manifest) => api.fit(manifest) === undefined);
      // Kinds of a mesh, of cert-manager and their like are there only where those are installed.
      expect(skipped.filter((manifest) => !isForeign(manifest)).map(nameOf)).toEqual([]);
      if (skipped.length > 0)
        await annotate(`not served here: ${skipped.map(nameOf).join(", ")}`, "notice");
      const merged = items.filter(isMerged);
      const others = items.filter((item) => !isMerged(item));
      const taken = [
        ...(merged.length === 0 ? [] : show(merged, "apply", "--server-side")),
        ...(others.length === 0 ? [] : show(others, "create")),
      ];
      expect(taken).toHaveLength(items.length);
    },
  );

  it("refuses what is not right in it", async () => {
    const manifests = await build("kubernetes/environments/production");
    const nats = manifests.find(({ kind }) => kind === "StatefulSet")!;
    const broken = api.fit({ ...nats, spec: { ...(nats["spec"] as object), replicas: -1 } })!;
    expect(() => show([broken], "apply", "--server-side")).toThrow(/replicas/);
  });
});
