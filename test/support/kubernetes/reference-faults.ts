/** Names by which objects of the tree mean each other: does each lead somewhere? Everything as sentences. */
import { z } from "zod";
import { CONFIG_VARIABLES } from "../../../deploy/config.ts";
import { type Manifest, matches, nameOf, type Workload, workloadsOf } from "./manifest.ts";

const labels = z.record(z.string(), z.string());

/** Made by people or by what platform/ stands on, see deploy/kubernetes/README.md. */
export const MADE_ELSEWHERE: readonly string[] = [
  "Secret berth-backend/nats-access",
  "Secret berth-backend/nats-auth",
  "Secret berth-backend/vault",
  "Secret berth-backend/nats-tls",
  "Secret berth-frontend/gateway-nats",
  "Secret berth-frontend/jwt",
  "Secret berth-monitoring/grafana",
  "ConfigMap berth-backend/nats-ca",
  "ConfigMap berth-frontend/nats-ca",
];

export function referenceFaults(manifests: readonly Manifest[]): string[] {
  const workloads = workloadsOf(manifests);
  return [
    ...selectorFaults(workloads),
    ...serviceFaults(manifests, workloads),
    ...budgetFaults(manifests, workloads),
    ...scalerFaults(manifests),
    ...workloads.flatMap((workload) => mentionFaults(manifests, workload)),
    ...variableFaults(manifests, workloads),
  ];
}

const selectorFaults = (workloads: readonly Workload[]) =>
  workloads
    .filter(({ selector, pod }) => !matches(selector, pod.metadata.labels))
    .map(({ manifest }) => `${nameOf(manifest)}: its selector does not match its own pods`);

const serviceSchema = z.looseObject({
  spec: z.looseObject({
    selector: labels.optional(),
    ports: z.array(z.looseObject({ targetPort: z.union([z.string(), z.number()]) })),
  }),
});

function serviceFaults(manifests: readonly Manifest[], workloads: readonly Workload[]): string[] {
  return manifests
    .filter(({ kind }) => kind === "Service")
    .flatMap((manifest) => {
      const { selector, ports } = serviceSchema.parse(manifest).spec;
      const behind = workloads.filter(
        ({ namespace, pod }) =>
          namespace === manifest.metadata.namespace && matches(selector, pod.metadata.labels),
      );
      if (behind.length === 0) return [`${nameOf(manifest)}: nothing is behind it`];
      return ports
        .filter(({ targetPort }) => !behind.every((workload) => hasPort(workload, targetPort)))
        .map(({ targetPort }) => `${nameOf(manifest)}: no container has the port ${targetPort}`);
    });
}

export const hasPort = ({ pod }: Workload, port: string | number) =>
  pod.spec.containers.some(({ ports }) =>
    ports.some(({ name, containerPort }) => name === port || containerPort === port),
  );

const budgetSchema = z.looseObject({
  spec: z.looseObject({ selector: z.looseObject({ matchLabels: labels }) }),
});

const budgetFaults = (manifests: readonly Manifest[], workloads: readonly Workload[]) =>
  manifests
    .filter(({ kind }) => kind === "PodDisruptionBudget")
    .filter((manifest) => {
      const { matchLabels } = budgetSchema.parse(manifest).spec.selector;
      return !workloads.some(
        ({ namespace, pod }) =>
          namespace === manifest.metadata.namespace && matches(matchLabels, pod.metadata.labels),
      );
    })
    .map((manifest) => `${nameOf(manifest)}: it guards nothing`);

const scalerSchema = z.looseObject({
  spec: z.looseObject({ scaleTargetRef: z.looseObject({ kind: z.string(), name: z.string() }) }),
});

const scalerFaults = (manifests: readonly Manifest[]) =>
  manifests
    .filter(({ kind }) => kind === "HorizontalPodAutoscaler")
    .filter((manifest) => {
      const { kind, name } = scalerSchema.parse(manifest).spec.scaleTargetRef;
      return !manifests.some(
        (one) =>
          one.kind === kind &&
          one.metadata.name === name &&
          one.metadata.namespace === manifest.metadata.namespace,
      );
    })
    .map((manifest) => `${nameOf(manifest)}: what it scales is not there`);

/** Config maps, secrets, accounts, priorities and volumes that a pod names. */
function mentionFaults(manifests: readonly Manifest[], workload: Workload): string[] {
  const { manifest, namespace, pod, claims } = workload;
  const isThere = (kind: string, name: string) =>
    manifests.some(
      (one) =>
        one.kind === kind &&
        one.metadata.name === name &&
        (one.metadata.namespace === undefined || one.metadata.namespace === namespace),
    );
  const named = [...namesIn(pod.spec)];
  const missing = named.filter(
    ([kind, name]) =>
      !MADE_ELSEWHERE.includes(`${kind} ${namespace}/${name}`) && !isThere(kind, name),
  );
  const volumes = new Set([...pod.spec.volumes.map(({ name }) => name), ...claims]);
  const unmounted = pod.spec.containers
    .flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name))
    .filter((name) => !volumes.has(name));
  return [
    ...missing.map(([kind, name]) => `${nameOf(manifest)}: there is no ${kind} ${name}`),
    ...unmounted.map((name) => `${nameOf(manifest)}: there is no volume ${name}`),
  ];
}

const KEYS: Readonly<Record<string, readonly [kind: string, field: string]>> = {
  configMapRef: ["ConfigMap", "name"],
  configMapKeyRef: ["ConfigMap", "name"],
  configMap: ["ConfigMap", "name"],
  secretRef: ["Secret", "name"],
  secretKeyRef: ["Secret", "name"],
  persistentVolumeClaim: ["PersistentVolumeClaim", "claimName"],
};

function* namesIn(value: unknown): Generator<[kind: string, name: string]> {
  if (Array.isArray(value)) for (const one of value) yield* namesIn(one);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return;
  for (const [key, inner] of Object.entries(value)) {
    const known = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
    const fields: Readonly<Record<string, unknown>> =
      typeof inner === "object" && inner !== null ? { ...inner } : {};
    if (known) yield [known[0], String(fields[known[1]])];
    else if (key === "secret") yield ["Secret", String(fields["secretName"] ?? fields["name"])];
    else if (key === "serviceAccountName") yield ["ServiceAccount", String(inner)];
    else if (key === "priorityClassName") yield ["PriorityClass", String(inner)];
    else yield* namesIn(inner);
  }
}

const configMapSchema = z.looseObject({ data: labels.default({}) });
export const dataOf = (map: Manifest) => configMapSchema.parse(map).data;

/** The whole environment of the first container, as far as it is in the tree. */
export function environmentOf(
  manifests: readonly Manifest[],
  { namespace, pod }: Workload,
): Record<string, string> {
  const [container] = pod.spec.containers;
  const maps = (container?.envFrom ?? []).flatMap(({ configMapRef }) =>
    manifests.filter(
      ({ kind, metadata }) =>
        kind === "ConfigMap" &&
        metadata.namespace === namespace &&
        metadata.name === configMapRef?.name,
    ),
  );
  const values = maps.map(dataOf);
  const own = (container?.env ?? []).map(({ name, value }) => [name, value ?? ""] as const);
  return Object.assign({}, ...values, Object.fromEntries(own)) as Record<string, string>;
}

/** Read by OpenTelemetry's library itself. */
const LIBRARY = /^OTEL_(RESOURCE_ATTRIBUTES|BSP_\w+|EXPORTER_OTLP_(HEADERS|TIMEOUT))$/;

/** Of Berth's own containers: a variable that nothing reads sets nothing. */
function variableFaults(manifests: readonly Manifest[], workloads: readonly Workload[]): string[] {
  return workloads
    .filter(({ pod }) => pod.spec.containers.some(({ image }) => /\bberth-/.test(image)))
    .flatMap((workload) =>
      Object.keys(environmentOf(manifests, workload))
        .filter((name) => !CONFIG_VARIABLES.includes(name) && !LIBRARY.test(name))
        .map((name) => `${nameOf(workload.manifest)}: nothing reads ${name}`),
    );
}
