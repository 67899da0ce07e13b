/** The tree's network policies beside the isolation policy: both are asked who may connect to what. */
import { expect, it } from "vitest";
import { z } from "zod";
import { loadConfig } from "../../../../deploy/config.ts";
import { parseQuantity } from "../../../../executor/drivers/kubernetes/quantity.ts";
import { DOORS, type Door, type PrincipalKind } from "../../../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../../../protocols/isolation-policy.ts";
import { breakIn } from "../../../support/kubernetes/broken.ts";
import { build, describeKustomize } from "../../../support/kubernetes/kustomize.ts";
import { type Manifest, nameOf, workloadsOf } from "../../../support/kubernetes/manifest.ts";
import { type Place, reaches } from "../../../support/kubernetes/policy-reach.ts";
import { environmentOf } from "../../../support/kubernetes/reference-faults.ts";

const production = () => build("kubernetes/environments/production");

/** To which a worker has no way. */
const EVERYTHING = ["api", "host", "metadata", "internet"].map((door) => `container to ${door}`);

/** What the tree makes, and what the driver makes in it. */
function podOf(manifests: readonly Manifest[], name: string, port: number): Place {
  if (name === "worker") {
    const labels = { "berth.part": "worker", "berth.tenant": "acme" };
    return { address: "10.244.3.7", port, pod: { namespace: "berth-execution", labels } };
  }
  const { namespace, pod } = workloadsOf(manifests).find(
    ({ manifest }) => manifest.metadata.name === name,
  )!;
  return { address: "10.244.1.9", port, pod: { namespace, labels: pod.metadata.labels } };
}

const PARTS = { container: "worker", node: "node", gateway: "gateway" } as const;
type Part = keyof typeof PARTS;

function behind(manifests: readonly Manifest[], door: Door): Place {
  const places: Readonly<Record<Door, Place>> = {
    broker: podOf(manifests, "nats", 4222),
    egress: podOf(manifests, "node", 14_223),
    api: podOf(manifests, "gateway", 8000),
    container: podOf(manifests, "worker", 8080),
    host: { address: "10.1.2.3", port: 22 },
    metadata: { address: "169.254.169.254", port: 80 },
    internet: { address: "203.0.113.9", port: 443 },
  };
  return places[door];
}

/** Other workers of a fleet are let through by a policy that the driver makes for that tenant. */
const mayConnect = (kind: PrincipalKind, door: Door) =>
  ISOLATION_POLICY.some(
    ({ action, principal, resources, scope }) =>
      principal === kind && action === "connect" && scope === "any" && resources.includes(door),
  );

function differences(manifests: readonly Manifest[]): string[] {
  return (Object.keys(PARTS) as Part[]).flatMap((kind) =>
    DOORS.filter((door) => {
      const from = podOf(manifests, PARTS[kind], 40_000);
      return reaches(manifests, from, behind(manifests, door)) !== mayConnect(kind, door);
    }).map((door) => `${kind} to ${door}`),
  );
}

describeKustomize("the network policies of the tree", () => {
  it("say of every pod and every door what the isolation policy says", async () => {
    expect(differences(await production())).toEqual([]);
  });

  it("let nobody from outside to anything but the API", async () => {
    const manifests = await production();
    const stranger: Place = { address: "198.51.100.7", port: 40_000 };
    const reached = DOORS.filter((door) => behind(manifests, door).pod).filter((door) =>
      reaches(manifests, stranger, behind(manifests, door)),
    );
    expect(reached).toEqual(["api"]);
  });

  it.each([
    ["NetworkPolicy berth-execution/worker", "spec/egress/-", {}, EVERYTHING],
    [
      "NetworkPolicy berth-execution/worker",
      "spec/egress/-",
      { to: [{ ipBlock: { cidr: "0.0.0.0/0" } }] },
      EVERYTHING,
    ],
    [
      "NetworkPolicy berth-backend/nats",
      "spec/ingress/0/from/3/namespaceSelector/matchLabels/name",
      "elsewhere",
      ["container to broker"],
    ],
    [
      "NetworkPolicy berth-backend/node",
      "spec/egress/1/to/0/ipBlock/except",
      [],
      ["node to metadata"],
    ],
    [
      "NetworkPolicy berth-frontend/gateway",
      "spec/egress/2/to/0/ipBlock/cidr",
      "192.0.2.0/24",
      ["gateway to internet"],
    ],
  ])("%s with another %s would differ", async (object, path, value, found) => {
    const manifests = await production();
    breakIn(manifests, { object, path, value });
    expect(differences(manifests)).toEqual(found);
  });
});

describeKustomize("the bounds of the workers' namespace", () => {
  const amounts = z.record(z.string(), z.string());
  const quotaSchema = z.looseObject({ spec: z.looseObject({ hard: amounts }) });
  const rangeSchema = z.looseObject({
    spec: z.looseObject({ limits: z.array(z.looseObject({ type: z.string(), max: amounts })) }),
  });
  const find = (manifests: readonly Manifest[], name: string) =>
    manifests.find((manifest) => nameOf(manifest) === name)!;

  it.each(["development", "staging", "production"])(
    "of %s hold the whole free pool, and a worker of every tier",
    async (name) => {
      const manifests = await build(`kubernetes/environments/${name}`);
      const node = workloadsOf(manifests).find(
        ({ manifest }) => manifest.metadata.name === "node",
      )!;
      const { tiers } = loadConfig({ ...environmentOf(manifests, node), BERTH_NODE_ID: "node-0" });
      const { hard } = quotaSchema.parse(
        find(manifests, "ResourceQuota berth-execution/workers"),
      ).spec;
      const pool = tiers.free;
      expect(pool.maxWorkers * pool.cpus).toBeLessThan(parseQuantity(hard["limits.cpu"]!));
      expect(pool.maxWorkers * pool.memoryBytes).toBeLessThan(
        parseQuantity(hard["limits.memory"]!),
      );
      const { limits } = rangeSchema.parse(
        find(manifests, "LimitRange berth-execution/berth-execution"),
      ).spec;
      const max = Object.fromEntries(limits.map((limit) => [limit.type, limit.max]));
      for (const tier of Object.values(tiers)) {
        expect(tier.cpus).toBeLessThanOrEqual(parseQuantity(max["Container"]!["cpu"]!));
        expect(tier.memoryBytes).toBeLessThanOrEqual(parseQuantity(max["Container"]!["memory"]!));
        expect(tier.storageBytes).toBeLessThanOrEqual(
          parseQuantity(max["PersistentVolumeClaim"]!["storage"]!),
        );
      }
    },
  );
});
