import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { breakIn } from "../../../support/kubernetes/broken.ts";
import { build, describeKustomize } from "../../../support/kubernetes/kustomize.ts";
import {
  type Manifest,
  nameOf,
  parseManifests,
  workloadsOf,
} from "../../../support/kubernetes/manifest.ts";
import { externalMetricFaults, scrapeFaults } from "../../../support/kubernetes/metric-faults.ts";
import { podFaults } from "../../../support/kubernetes/pod-faults.ts";
import { policyFaults } from "../../../support/kubernetes/policy-faults.ts";
import {
  dataOf,
  MADE_ELSEWHERE,
  referenceFaults,
} from "../../../support/kubernetes/reference-faults.ts";
import { schemaFaults, unknownFields } from "../../../support/kubernetes/schemas.ts";
import { describePrometheus, promtool } from "../../../support/prometheus.ts";
import { ROOT } from "../../../support/source.ts";

const PLATFORM = "kubernetes/platform";
/** service-mesh is a part of production, see there. */
const FOLDERS = readdirSync(join(ROOT, "deploy", PLATFORM)).filter(
  (name) => name !== "service-mesh",
);
const production = () => build("kubernetes/environments/production");
const together = async (...folders: string[]) =>
  (
    await Promise.all([production(), ...folders.map((name) => build(`${PLATFORM}/${name}`))])
  ).flat();
const read = (...path: string[]) => readFileSync(join(ROOT, "deploy", ...path), "utf8");
const find = (manifests: readonly Manifest[], name: string) =>
  manifests.find((manifest) => nameOf(manifest).startsWith(name))!;

describeKustomize("what Berth stands on", () => {
  it("is there for each part that the tree promises", () => {
    expect(FOLDERS).toEqual(
      expect.arrayContaining([
        "argo-cd",
        "cert-manager",
        "external-secrets",
        "logging",
        "monitoring",
      ]),
    );
  });

  describe.each(FOLDERS)("%s", (name) => {
    it("is of the types that the schemas say, and has no field that there is not", async () => {
      const manifests = await build(`${PLATFORM}/${name}`);
      expect(manifests.length).toBeGreaterThan(0);
      expect(await schemaFaults(manifests)).toEqual([]);
      expect(await unknownFields(manifests)).toEqual([]);
    });

    it("fits to what is there, names nothing else, and has pods as hardened as the others", async () => {
      const manifests = await together(name, ...(name === "logging" ? ["monitoring"] : []));
      expect(workloadsOf(manifests).flatMap(podFaults)).toEqual([]);
      expect(referenceFaults(manifests)).toEqual([]);
      expect(policyFaults(manifests)).toEqual([]);
      const names = manifests.map(nameOf);
      expect(names.filter((one, at) => names.indexOf(one) !== at)).toEqual([]);
    });
  });

  it("brings every secret that a pod names, from one store or from cert-manager", async () => {
    const manifests = await together("external-secrets", "cert-manager");
    const specs = z.looseObject({
      spec: z.looseObject({
        target: z.looseObject({ name: z.string().optional() }).optional(),
        secretName: z.string().optional(),
      }),
    });
    const brought = manifests
      .filter(({ kind }) => ["ExternalSecret", "Certificate"].includes(kind))
      .map((manifest) => {
        const { target, secretName } = specs.parse(manifest).spec;
        return `Secret ${manifest.metadata.namespace}/${target?.name ?? secretName}`;
      });
    const secrets = MADE_ELSEWHERE.filter((name) => name.startsWith("Secret"));
    expect(brought).toEqual(expect.arrayContaining(secrets));
    expect(find(manifests, "Bundle nats-ca")).toMatchObject({
      spec: { target: { configMap: { key: "ca.crt" } } },
    });
  });

  it("vouches for the broker by every name that somebody calls it", async () => {
    const manifests = await together("cert-manager");
    const { dnsNames } = z
      .looseObject({ spec: z.looseObject({ dnsNames: z.array(z.string()) }) })
      .parse(find(manifests, "Certificate berth-backend/nats")).spec;
    const text = JSON.stringify(manifests.filter(({ kind }) => kind === "StatefulSet"));
    const called = [...text.matchAll(/nats(?:-route)?:\/\/([\w.-]+):\d+/g)].map(
      ([, host]) => host!,
    );
    expect(new Set(called).size).toBe(4);
    const isVouched = (host: string) =>
      dnsNames.some((name) => name === host || name === host.replace(/^[^.]+/, "*"));
    expect(called.filter((host) => !isVouched(host))).toEqual([]);
  });
});

describeKustomize("monitoring of the tree", () => {
  it("takes rules, dashboards and the collector's configuration as deploy/monitoring has them", async () => {
    const manifests = await build(`${PLATFORM}/monitoring`);
    const maps = manifests.filter(({ kind }) => kind === "ConfigMap").map(dataOf);
    const files = Object.assign({}, ...maps) as Record<string, string>;
    for (const name of ["recording.yml", "alerts.yml"])
      expect(files[name]).toBe(read("monitoring", "prometheus", "rules", name));
    const dashboards = join("monitoring", "grafana", "dashboards");
    for (const name of readdirSync(join(ROOT, "deploy", dashboards)))
      expect(files[name]).toBe(read(dashboards, name));
    expect(files["collector.yaml"]).toBe(read("monitoring", "otel", "collector.yaml"));
  });

  it("scrapes every pod of Berth that has metrics, at the port at which it serves them", async () => {
    const manifests = await together("monitoring");
    expect(scrapeFaults(manifests)).toEqual([]);
    breakIn(manifests, {
      object: "StatefulSet berth-backend/node",
      path: "spec/template/metadata/annotations",
      value: { "prometheus.io/scrape": "true", "prometheus.io/port": "9464" },
    });
    expect(scrapeFaults(manifests)).toEqual([
      "StatefulSet berth-backend/node: is scraped at 9464, where nobody listens",
    ]);
  });

  it("answers autoscalers for each external metric, by one that Berth has", async () => {
    const manifests = await together("monitoring");
    expect(externalMetricFaults(manifests)).toEqual([]);
    const object = "HorizontalPodAutoscaler berth-backend/node";
    const metric = "spec/metrics/2/external/metric";
    breakIn(manifests, { object, path: `${metric}/name`, value: "redis_queue_length" });
    expect(externalMetricFaults(manifests)).toEqual([
      `${object}: nothing provides redis_queue_length`,
    ]);
    const others = await together("monitoring");
    breakIn(others, { object, path: `${metric}/selector/matchLabels`, value: { queue: "free" } });
    expect(externalMetricFaults(others)).toEqual([
      `${object}: berth_queue_depth has no label queue`,
    ]);
    const map = find(others, "ConfigMap berth-monitoring/prometheus-adapter");
    breakIn(others, {
      object: nameOf(map),
      path: "data/adapter.yml",
      value: dataOf(map)["adapter.yml"]!.replaceAll("berth_queue_depth", "berth_queue_length"),
    });
    expect(externalMetricFaults(others).join("\n")).toContain("Berth has no berth_queue_length");
  });

  it("gives the operator of Prometheus the same rules", async () => {
    const script = join(ROOT, "deploy", "kubernetes", "prometheus-rule.mjs");
    const manifests = parseManifests(
      execFileSync(process.execPath, [script], { encoding: "utf8" }),
    );
    expect(await schemaFaults(manifests)).toEqual([]);
    const groups = ["recording.yml", "alerts.yml"].flatMap(
      (name) =>
        (parse(read("monitoring", "prometheus", "rules", name)) as { groups: unknown[] }).groups,
    );
    expect(manifests[0]).toMatchObject({ kind: "PrometheusRule", spec: { groups } });
  });

  it("reads logs of pods as deploy/monitoring reads those of files, behind the engine's own fields", () => {
    const schema = z.looseObject({
      receivers: z.looseObject({
        filelog: z.looseObject({ operators: z.array(z.looseObject({ type: z.string() })) }),
      }),
    });
    const operatorsOf = (text: string) => schema.parse(parse(text)).receivers.filelog.operators;
    const usual = operatorsOf(read("monitoring", "otel", "collector.yaml"));
    const ofPods = operatorsOf(read(PLATFORM, "logging", "agent-pods.yaml"));
    expect(ofPods).toEqual([{ type: "container" }, ...usual]);
  });
});

describePrometheus("its configuration", () => {
  it("is one that Prometheus takes", async () => {
    const config = read(PLATFORM, "monitoring", "prometheus.yml");
    // Debian's is built without the clients of clusters and clouds.
    const found = /kubernetes_sd_configs:\n(?: {6}.*\n)+/;
    expect(config).toMatch(found);
    const folder = mkdtempSync(join(tmpdir(), "berth-prometheus-config-"));
    try {
      const path = join(folder, "prometheus.yml");
      writeFileSync(path, config.replace(found, "static_configs: [{ targets: [a:1] }]\n"));
      const { code, stdout } = await promtool("check", "config", "--syntax-only", path);
      expect({ code, stdout }).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("SUCCESS"),
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describeKustomize("the service mesh", () => {
  it("sends all to the stable version, ends no stream, and sends nothing twice that was received", async () => {
    const manifests = await production();
    expect(find(manifests, "VirtualService")).toMatchObject({
      spec: {
        http: [
          {
            timeout: "0s",
            retries: { retryOn: "connect-failure,refused-stream" },
            route: [{ weight: 100, destination: { subset: "stable" } }, { weight: 0 }],
          },
        ],
      },
    });
    expect(find(manifests, "DestinationRule")).toMatchObject({
      spec: {
        trafficPolicy: {
          connectionPool: { http: { maxRequestsPerConnection: 0 } },
          outlierDetection: { interval: "30s", baseEjectionTime: "30s" },
        },
      },
    });
  });

  it("knows each subset by a label that pods have", async () => {
    const manifests = await production();
    const rule = z
      .looseObject({
        spec: z.looseObject({
          subsets: z.array(
            z.looseObject({ name: z.string(), labels: z.record(z.string(), z.string()) }),
          ),
        }),
      })
      .parse(find(manifests, "DestinationRule"));
    const stable = rule.spec.subsets.find(({ name }) => name === "stable");
    const gateway = workloadsOf(manifests).find(
      ({ manifest }) => manifest.metadata.name === "gateway",
    );
    expect(gateway?.pod.metadata.labels).toMatchObject(stable!.labels);
  });
});

describeKustomize("Argo CD", () => {
  it("prunes, heals and tries again, from one repository, in the folders that there are", async () => {
    const manifests = await build(`${PLATFORM}/argo-cd`);
    const text = JSON.stringify(manifests);
    expect(text).not.toContain("set-below");
    const syncs = [...text.matchAll(/"automated":(\{[^}]*\})/g)].map(([, sync]) =>
      JSON.parse(sync!),
    );
    expect(syncs).toEqual([
      { prune: true, selfHeal: true },
      { prune: true, selfHeal: true },
    ]);
    expect(text.match(/"limit":5/g)).toHaveLength(2);
    const parts = [...text.matchAll(/"part":"([\w-]+)"/g)].map(([, part]) => part!);
    expect(FOLDERS).toEqual(expect.arrayContaining(parts));
    const [, path] = /"path":"(deploy\/kubernetes\/environments\/\w+)"/.exec(text) ?? [];
    expect(readdirSync(join(ROOT, path!))).toContain("kustomization.yaml");
  });

  it("is allowed every kind that its folders hold, beside those of a namespace", async () => {
    const [project] = await build(`${PLATFORM}/argo-cd`);
    const { clusterResourceWhitelist: allowed } = z
      .looseObject({
        spec: z.looseObject({
          clusterResourceWhitelist: z.array(z.object({ group: z.string(), kind: z.string() })),
        }),
      })
      .parse(project).spec;
    const all = await together("cert-manager", "external-secrets", "monitoring", "logging");
    const needed = all
      .filter(({ metadata }) => metadata.namespace === undefined)
      .map(({ apiVersion, kind }) => ({
        group: apiVersion.includes("/") ? apiVersion.split("/")[0]! : "",
        kind,
      }));
    expect(allowed).toEqual(expect.arrayContaining(needed));
    expect(allowed.filter(({ kind }) => !needed.some((one) => one.kind === kind))).toEqual([]);
  });
});
