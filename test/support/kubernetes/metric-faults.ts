/** Metrics on their way from pods to autoscalers: is each scraped where it is served, and each that is asked for one that there is? */
import { parse } from "yaml";
import { z } from "zod";
import { METRICS } from "../../../deploy/metrics.ts";
import { metricsIn } from "../rule-files.ts";
import { isServer, type Manifest, nameOf, type Workload, workloadsOf } from "./manifest.ts";
import { dataOf, environmentOf, hasPort } from "./reference-faults.ts";

/** Of Berth's own pods. */
export function scrapeFaults(manifests: readonly Manifest[]): string[] {
  return workloadsOf(manifests)
    .filter(isServer)
    .filter(({ pod }) => pod.spec.containers.some(({ image }) => /\bberth-/.test(image)))
    .flatMap((workload) => {
      const { annotations } = workload.pod.metadata;
      const port = Number(annotations["prometheus.io/port"]);
      const where = `${nameOf(workload.manifest)}: is scraped at ${port}`;
      if (annotations["prometheus.io/scrape"] !== "true" || !Number.isInteger(port))
        return [`${nameOf(workload.manifest)}: is not scraped`];
      if (!hasPort(workload, port)) return [`${where}, where nobody listens`];
      return port === servedAt(manifests, workload) ? [] : [`${where}, where there are no metrics`];
    });
}

/** A node serves metrics with its health. */
function servedAt(manifests: readonly Manifest[], workload: Workload): number {
  const environment = environmentOf(manifests, workload);
  return Number(environment["BERTH_METRICS_PORT"] ?? environment["BERTH_NODE_PORT"]);
}

const scalerSchema = z.looseObject({
  spec: z.looseObject({
    metrics: z
      .array(
        z.looseObject({
          external: z
            .looseObject({
              metric: z.looseObject({
                name: z.string(),
                selector: z
                  .looseObject({ matchLabels: z.record(z.string(), z.string()) })
                  .optional(),
              }),
            })
            .optional(),
        }),
      )
      .default(() => []),
  }),
});
const adapterSchema = z.object({
  externalRules: z.array(
    z.looseObject({
      seriesQuery: z.string(),
      name: z.object({ as: z.string() }),
      metricsQuery: z.string(),
    }),
  ),
});

export function externalMetricFaults(manifests: readonly Manifest[]): string[] {
  const rules = manifests
    .filter(
      ({ kind, metadata }) => kind === "ConfigMap" && /prometheus-adapter/.test(metadata.name),
    )
    .flatMap((map) => adapterSchema.parse(parse(dataOf(map)["adapter.yml"] ?? "")).externalRules);
  const unknown = rules
    .map(({ seriesQuery }) => /__name__="(?<name>\w+)"/.exec(seriesQuery)?.groups?.["name"] ?? "")
    .filter((name) => !Object.hasOwn(METRICS, name))
    .map((name) => `the adapter: Berth has no ${name}`);
  const asked = manifests
    .filter(({ kind }) => kind === "HorizontalPodAutoscaler")
    .flatMap((manifest) =>
      scalerSchema.parse(manifest).spec.metrics.flatMap(({ external }) => {
        if (!external) return [];
        const { name, selector } = external.metric;
        const rule = rules.find((one) => one.name.as === name);
        if (!rule) return [`${nameOf(manifest)}: nothing provides ${name}`];
        return labelsMissing(rule, selector?.matchLabels ?? {}).map(
          (label) => `${nameOf(manifest)}: ${name} has no label ${label}`,
        );
      }),
    );
  return [...unknown, ...asked];
}

/** The query as the adapter fills it in. */
function labelsMissing(
  rule: z.infer<typeof adapterSchema>["externalRules"][number],
  selector: Readonly<Record<string, string>>,
): string[] {
  const series = /__name__="(?<name>\w+)"/.exec(rule.seriesQuery)?.groups?.["name"] ?? "";
  const matchers = Object.entries(selector).map(([label, value]) => `${label}="${value}"`);
  const query = rule.metricsQuery
    .replaceAll("<<.Series>>", series)
    .replaceAll("<<.LabelMatchers>>", matchers.join(","));
  return metricsIn(query).flatMap(({ name, labels }) =>
    labels.filter((label) => !METRICS[name]?.labels.includes(label)),
  );
}
