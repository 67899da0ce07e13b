/**
 * The development environment as it is installed on the tests' cluster, with images of this machine. That cluster has no name service
 * and no addresses of Services, so pods are told where the broker and the API are, and the broker's disk is the pod's own.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { loadConfig } from "../../../deploy/config.ts";
import { accessText } from "../../../deploy/nats/access.ts";
import { makeGatewayCreds } from "../../../deploy/nats/auth/keyholder.ts";
import { newVaultKey } from "../../../deploy/vault-keys.ts";
import { EXECUTOR_IMAGE } from "../docker.ts";
import { eventually } from "../eventually.ts";
import { bridgeAddress, KUBECONFIG, kubectl, kubectlJson } from "../kubernetes.ts";
import { build } from "./kustomize.ts";
import type { Manifest } from "./manifest.ts";
import { NAMESPACES, ServedApi } from "./served.ts";

const WITHIN_MS = 120_000;
const BROKER = "nats.berth-backend.svc";
const EGRESS = "egress.berth-backend.svc";
const IMAGES: Readonly<Record<string, string>> = {
  nats: "berth-test",
  node: "berth-node-test",
  gateway: "berth-gateway-test",
};
/** In no namespace: removed one by one. */
const PRIORITIES = ["berth-broker", "berth-nodes", "berth-platform", "berth-workers"];
const CLUSTER_WIDE = [...PRIORITIES, "fast", "fast-retain"];

export interface Installation extends AsyncDisposable {
  /** Of the gateway that is ready, which another one follows. */
  url(): string;
  operatorKey(): string;
  /** In the namespace of a layer. */
  kubectl(layer: string, ...args: readonly string[]): string;
  /** Uids of the pods that workers are. */
  workers(): string[];
}

const podsSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({
        name: z.string(),
        uid: z.string(),
        deletionTimestamp: z.string().optional(),
      }),
      status: z.object({
        podIP: z.string().optional(),
        conditions: z.array(z.object({ type: z.string(), status: z.string() })).default(() => []),
      }),
    }),
  ),
});

export async function install(): Promise<Installation> {
  const api = new ServedApi();
  const layer = (name: string) => api.named(`berth-${name}`);
  const inLayer = (name: string, ...args: readonly string[]) =>
    kubectl(["--namespace", layer(name), ...args]);
  const podsOf = (name: string, selector: string) =>
    podsSchema.parse(
      kubectlJson(["--namespace", layer(name), "get", "pods", `--selector=${selector}`]),
    ).items;
  const readyAddress = (name: string, part: string) =>
    podsOf(name, `app.kubernetes.io/name=${part}`).find(
      ({ metadata, status }) =>
        metadata.deletionTimestamp === undefined &&
        status.conditions.some(({ status: is, type }) => type === "Ready" && is === "True"),
    )?.status.podIP ?? false;
  const dispose = () => remove(api);
  try {
    const manifests = (await build("kubernetes/environments/development"))
      .map((manifest) => api.fit(manifest, CLUSTER_WIDE))
      .filter((manifest) => manifest !== undefined)
      // This cluster has no controller of ingresses, and nobody who measures for an autoscaler.
      .filter(({ kind }) => !["Ingress", "HorizontalPodAutoscaler"].includes(kind));
    const isApp = ({ kind }: Manifest) => kind === "StatefulSet" || kind === "Deployment";
    apply(manifests.filter(({ kind }) => kind === "Namespace"));
    await makeSecrets(inLayer);
    apply(manifests.filter((one) => !isApp(one) && one.kind !== "Namespace"));
    const named = (part: string) =>
      manifests.filter((one) => isApp(one) && one.metadata.name === part);
    apply(named("nats").map((manifest) => adapted(manifest, {})));
    const broker = await eventually(() => readyAddress("backend", "nats"), {
      name: "the broker is ready",
      within: WITHIN_MS,
    });
    const bridge = await bridgeAddress();
    const environment = {
      KUBERNETES_SERVICE_HOST: bridge,
      KUBERNETES_SERVICE_PORT: await apiPort(),
      BERTH_DEPLOYMENT: api.named("berth"),
      BERTH_KUBERNETES_NAMESPACE: layer("execution"),
      BERTH_KUBERNETES_IMAGE: EXECUTOR_IMAGE,
      BERTH_KUBERNETES_PULL_POLICY: "Never",
    };
    const hosts = [
      { ip: broker, hostnames: [BROKER] },
      // Nobody is there: what jobs here do needs no way out.
      { ip: bridge, hostnames: [EGRESS] },
    ];
    apply(named("node").map((manifest) => adapted(manifest, { environment, hosts })));
    apply(named("gateway").map((manifest) => adapted(manifest, { hosts })));
    for (const [where, part] of [
      ["backend", "node"],
      ["frontend", "gateway"],
    ] as const)
      await eventually(() => readyAddress(where, part), {
        name: `${part} is ready`,
        within: WITHIN_MS,
      });
  } catch (thrown) {
    const said = NAMESPACES.slice(0, 2).map((name) =>
      kubectl(["--namespace", api.named(name), "get", "pods,events", "--output=wide"]),
    );
    dispose();
    throw new Error(`The installation failed: ${said.join("\n")}`, { cause: thrown });
  }
  return {
    url: () => `http://${readyAddress("frontend", "gateway")}:8000`,
    operatorKey: () => inLayer("backend", "exec", "node-0", "--", "berth", "operator-key").trim(),
    kubectl: inLayer,
    workers: () => podsOf("execution", "berth.part=worker").map(({ metadata }) => metadata.uid),
    [Symbol.asyncDispose]: () => Promise.resolve(dispose()),
  };
}

function apply(items: readonly Manifest[]): void {
  kubectl(
    ["apply", "--server-side", "--filename=-"],
    JSON.stringify({ apiVersion: "v1", kind: "List", items }),
  );
}

const workloadSchema = z.looseObject({
  spec: z.looseObject({
    template: z.looseObject({
      spec: z.looseObject({
        containers: z.array(
          z.looseObject({
            name: z.string(),
            env: z.array(z.looseObject({ name: z.string() })).default(() => []),
          }),
        ),
        volumes: z.array(z.unknown()),
      }),
    }),
    volumeClaimTemplates: z.array(z.unknown()).optional(),
  }),
});

function adapted(
  manifest: Manifest,
  {
    environment = {},
    hosts = [],
  }: {
    readonly environment?: Readonly<Record<string, string>>;
    readonly hosts?: readonly object[];
  },
): Manifest {
  const copy = workloadSchema.parse(structuredClone(manifest));
  const { spec } = copy.spec.template;
  const own = Object.entries(environment).map(([name, value]) => ({ name, value }));
  spec["hostAliases"] = hosts;
  spec.containers = spec.containers.map((container) => ({
    ...container,
    image: IMAGES[container.name],
    imagePullPolicy: "Never",
    env: [...container.env.filter(({ name }) => !Object.hasOwn(environment, name)), ...own],
  }));
  if (copy.spec.volumeClaimTemplates) {
    delete copy.spec.volumeClaimTemplates;
    spec.volumes.push({ name: "data", emptyDir: {} });
  }
  return { ...manifest, ...copy };
}

/** By the same steps as README.md has them. */
async function makeSecrets(
  inLayer: (layer: string, ...args: readonly string[]) => string,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "berth-installation-"));
  try {
    const config = loadConfig({ BERTH_NATS_AUTH: folder });
    const access = await accessText(config);
    const auth = await Promise.all(
      ["issuer.nk", "operator-signing.nk", "platform.creds", "sys.creds"].map(
        async (name) => [name, await readFile(join(folder, name), "utf8")] as const,
      ),
    );
    const secrets: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
      ["backend", "nats-access", { "access.conf": access }],
      ["backend", "nats-auth", Object.fromEntries(auth)],
      ["backend", "vault", { keys: newVaultKey() }],
      ["frontend", "gateway-nats", { "gateway.creds": makeGatewayCreds(config, "gateways") }],
      ["frontend", "jwt", { secret: newVaultKey() }],
    ];
    for (const [layer, name, values] of secrets) {
      const literals = Object.entries(values).map(
        ([key, value]) => `--from-literal=${key}=${value}`,
      );
      inLayer(layer, "create", "secret", "generic", name, ...literals);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function apiPort(): Promise<string> {
  const [, port] = /server: "?https:\/\/[^:]+:(\d+)/.exec(await readFile(KUBECONFIG, "utf8")) ?? [];
  if (port === undefined) throw new Error(`${KUBECONFIG} names no port`);
  return port;
}

function remove(api: ServedApi): void {
  const namespaces = NAMESPACES.map((name) => api.named(name));
  kubectl(["delete", "namespace", ...namespaces, "--wait=false", "--ignore-not-found"]);
  const names = CLUSTER_WIDE.map((name) => api.named(name));
  const [priorities, classes] = [names.slice(0, PRIORITIES.length), names.slice(PRIORITIES.length)];
  kubectl(["delete", "priorityclass", ...priorities, "--ignore-not-found"]);
  kubectl(["delete", "storageclass", ...classes, "--ignore-not-found"]);
}
