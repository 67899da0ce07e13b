/** Objects of Kubernetes as far as the tests of deploy/kubernetes look into them; what is not named here stays as it is. */
import { parseAllDocuments } from "yaml";
import { z } from "zod";

const labels = z.record(z.string(), z.string());
const selector = z.looseObject({ matchLabels: labels.optional() });

const probe = z.looseObject({
  httpGet: z.looseObject({ path: z.string(), port: z.union([z.string(), z.number()]) }).optional(),
});
const amounts = z.looseObject({ cpu: z.string().optional(), memory: z.string().optional() });
const reference = z.looseObject({ name: z.string() });
const containerSchema = z.looseObject({
  name: z.string(),
  image: z.string(),
  args: z.array(z.string()).optional(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })).default(() => []),
  envFrom: z.array(z.looseObject({ configMapRef: reference.optional() })).default(() => []),
  ports: z
    .array(z.looseObject({ name: z.string().optional(), containerPort: z.number() }))
    .default(() => []),
  resources: z.looseObject({ requests: amounts.optional(), limits: amounts.optional() }).optional(),
  livenessProbe: probe.optional(),
  readinessProbe: probe.optional(),
  lifecycle: z.looseObject({ preStop: z.unknown() }).optional(),
  securityContext: z
    .looseObject({
      allowPrivilegeEscalation: z.boolean().optional(),
      privileged: z.boolean().optional(),
      readOnlyRootFilesystem: z.boolean().optional(),
      capabilities: z
        .looseObject({ add: z.array(z.string()).optional(), drop: z.array(z.string()).optional() })
        .optional(),
    })
    .optional(),
  volumeMounts: z.array(z.looseObject({ name: z.string() })).default(() => []),
});
export type Container = z.infer<typeof containerSchema>;

const podSchema = z.looseObject({
  metadata: z.looseObject({ labels: labels.default({}), annotations: labels.default({}) }),
  spec: z.looseObject({
    serviceAccountName: z.string().optional(),
    automountServiceAccountToken: z.boolean().optional(),
    terminationGracePeriodSeconds: z.number().optional(),
    priorityClassName: z.string().optional(),
    hostNetwork: z.boolean().optional(),
    hostPID: z.boolean().optional(),
    securityContext: z
      .looseObject({
        runAsNonRoot: z.boolean().optional(),
        runAsUser: z.number().optional(),
        seccompProfile: z.looseObject({ type: z.string() }).optional(),
      })
      .optional(),
    containers: z.array(containerSchema).min(1),
    initContainers: z.array(containerSchema).default(() => []),
    volumes: z.array(z.looseObject({ name: z.string() })).default(() => []),
  }),
});
export type PodTemplate = z.infer<typeof podSchema>;

const manifestSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: labels.optional(),
  }),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** By YAML 1.1, as Kubernetes reads it: `0440` is octal there. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text, { version: "1.1" }).map((document) =>
    manifestSchema.parse(document.toJS()),
  );
}

export const nameOf = ({ kind, metadata: { name, namespace } }: Manifest) =>
  `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;

export interface Workload {
  readonly manifest: Manifest;
  readonly namespace: string;
  readonly pod: PodTemplate;
  readonly selector: Readonly<Record<string, string>>;
  readonly claims: readonly string[];
}

const workloadSchema = z.looseObject({
  spec: z.looseObject({
    selector,
    template: podSchema,
    volumeClaimTemplates: z.array(z.looseObject({ metadata: reference })).default(() => []),
  }),
});
const cronJobSchema = z.looseObject({
  spec: z.looseObject({
    jobTemplate: z.looseObject({ spec: z.looseObject({ template: podSchema }) }),
  }),
});
const SERVERS = new Set(["Deployment", "StatefulSet", "DaemonSet"]);

/** Whatever makes pods. */
export function workloadsOf(manifests: readonly Manifest[]): Workload[] {
  return manifests.flatMap((manifest) => {
    const namespace = manifest.metadata.namespace ?? "";
    if (manifest.kind === "CronJob") {
      const pod = cronJobSchema.parse(manifest).spec.jobTemplate.spec.template;
      return [{ manifest, namespace, pod, selector: {}, claims: [] }];
    }
    if (!SERVERS.has(manifest.kind)) return [];
    const { spec } = workloadSchema.parse(manifest);
    const claims = spec.volumeClaimTemplates.map(({ metadata }) => metadata.name);
    const chosen = spec.selector.matchLabels ?? {};
    return [{ manifest, namespace, pod: spec.template, selector: chosen, claims }];
  });
}

/** Runs until it is told to end, and is asked whether it is well. */
export const isServer = ({ manifest }: Workload) => SERVERS.has(manifest.kind);

/** Whether all labels of the selector are there. */
export const matches = (
  wanted: Readonly<Record<string, string>> | undefined,
  found: Readonly<Record<string, string>>,
) => Object.entries(wanted ?? {}).every(([key, value]) => found[key] === value);
