/**
 * The tree, shown to a real API server: what would be made of it, by the server's own word and with nothing made. What this
 * version of the server does not serve is counted and named; where an older version of the same API has it, that one is asked.
 */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { build, describeKustomize } from "../support/kubernetes/kustomize.ts";
import { type Manifest, nameOf } from "../support/kubernetes/manifest.ts";
import { isForeign } from "../support/kubernetes/schemas.ts";
import { kubectl } from "../support/kubernetes.ts";

/** The same kinds with the same fields, before they were called stable. */
const OLDER: Readonly<Record<string, string>> = {
  "policy/v1": "policy/v1beta1",
  "autoscaling/v2": "autoscaling/v2beta2",
};
/** Younger than the server that the tests build. */
const YOUNGER_FIELDS: Readonly<Record<string, readonly string[]>> = {
  StatefulSet: ["minReadySeconds"],
};

const FOLDERS = [
  ...["development", "staging", "production"].map((name) => `environments/${name}`),
  ...["monitoring", "logging", "cert-manager", "external-secrets", "argo-cd"].map(
    (name) => `platform/${name}`,
  ),
];

/** Namespaces of ours are there under other names for the time of the test: others may have the real ones. */
const suffix = randomBytes(3).toString("hex");
const NAMESPACES = ["frontend", "backend", "execution", "monitoring", "logging"].map(
  (layer) => `berth-${layer}`,
);
const renamed = (name: string | undefined) =>
  name !== undefined && NAMESPACES.includes(name) ? `${name}-${suffix}` : name;

const minor = z
  .object({ serverVersion: z.object({ minor: z.string() }) })
  .transform(({ serverVersion }) => Number.parseInt(serverVersion.minor, 10));

describeKustomize("the tree on a real API server", () => {
  let served: ReadonlySet<string>;
  let version: number;

  beforeAll(() => {
    served = new Set(kubectl(["api-versions"]).split("\n"));
    version = minor.parse(JSON.parse(kubectl(["version", "--output=json"])));
    for (const name of NAMESPACES) kubectl(["create", "namespace", `${name}-${suffix}`]);
  });
  afterAll(() => {
    const names = NAMESPACES.map((name) => `${name}-${suffix}`);
    kubectl(["delete", "namespace", ...names, "--wait=false", "--ignore-not-found"]);
  });

  /** As this server can take it; undefined when it cannot. */
  function fitted(manifest: Manifest): Manifest | undefined {
    const known = served.has(manifest.apiVersion)
      ? manifest.apiVersion
      : OLDER[manifest.apiVersion];
    if (known === undefined || !served.has(known)) return undefined;
    const { metadata } = manifest;
    const isNamespace = manifest.kind === "Namespace";
    const copy: Manifest = {
      ...structuredClone(manifest),
      apiVersion: known,
      metadata: {
        ...metadata,
        name: isNamespace ? (renamed(metadata.name) ?? "") : metadata.name,
        ...(metadata.namespace === undefined ? {} : { namespace: renamed(metadata.namespace) }),
      },
    };
    const spec = copy["spec"] as Record<string, unknown> | undefined;
    if (spec && version < 22)
      for (const field of YOUNGER_FIELDS[copy.kind] ?? []) delete spec[field];
    return copy;
  }

  const show = (items: readonly Manifest[], ...by: string[]) =>
    kubectl(
      [...by, "--dry-run=server", "--validate=strict", "--output=name", "--filename=-"],
      JSON.stringify({ apiVersion: "v1", kind: "List", items }),
    )
      .split("\n")
      .filter((line) => line !== "");
  /** Servers of that age fail to merge an APIService with nothing. */
  const isMerged = ({ kind }: Manifest) => kind !== "APIService" || version >= 22;

  it.for(FOLDERS)(
    "%s is taken, but for what others bring to a cluster",
    async (folder, { annotate }) => {
      const manifests = await build(`kubernetes/${folder}`);
      const items = manifests.map(fitted).filter((manifest) => manifest !== undefined);
      const skipped = manifests.filter((manifest) => fitted(manifest) === undefined);
      // Kinds of a mesh, of cert-manager and their like are there only where those are installed.
      expect(skipped.filter((manifest) => !isForeign(manifest)).map(nameOf)).toEqual([]);
      if (skipped.length > 0)
        await annotate(`not served here: ${skipped.map(nameOf).join(", ")}`, "notice");
      if (items.length === 0) return expect(skipped).toHaveLength(manifests.length);
      const merged = show(items.filter(isMerged), "apply", "--server-side");
      const others = items.filter((item) => !isMerged(item));
      const made = others.length === 0 ? [] : show(others, "create");
      expect([...merged, ...made]).toHaveLength(items.length);
    },
  );

  it("refuses what is not right in it", async () => {
    const manifests = await build("kubernetes/environments/production");
    const nats = manifests.find(({ kind }) => kind === "StatefulSet")!;
    const broken = fitted({ ...nats, spec: { ...(nats["spec"] as object), replicas: -1 } })!;
    expect(() => show([broken], "apply", "--server-side")).toThrow(/replicas/);
  });
});
