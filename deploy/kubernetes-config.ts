/** What the Kubernetes driver is told by the environment: part of `config.ts`. */
import { z } from "zod";
import { duration, list } from "./config-kinds.ts";

/** As the cluster takes names. */
const NAME = /^[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?$/;

export const kubernetesVariables = {
  /** A kubeconfig, outside of the cluster; default: the account of the pod that this runs in, or `~/.kube/config`. */
  KUBECONFIG: z.string().min(1).optional(),
  /** Where workers' pods are. Nothing else should be. */
  BERTH_KUBERNETES_NAMESPACE: z.string().regex(NAME).default("berth-execution"),
  /** How a worker's pod is made: by us, or by the controller of agent-sandbox for a `Sandbox` of ours. */
  BERTH_KUBERNETES_WORKERS: z.enum(["pods", "sandboxes"]).default("pods"),
  /** Image of workers, as the cluster's machines pull it. */
  BERTH_KUBERNETES_IMAGE: z.string().min(1).default("berth-executor"),
  BERTH_KUBERNETES_PULL_POLICY: z.enum(["Always", "IfNotPresent", "Never"]).default("IfNotPresent"),
  /** Secrets of the workers' namespace with which the image is pulled. */
  BERTH_KUBERNETES_PULL_SECRETS: list(""),
  /** Such as gVisor's or Kata's; default: the cluster's own runtime. */
  BERTH_KUBERNETES_RUNTIME_CLASS: z.string().regex(NAME).optional(),
  /** Of workers; default: the cluster's default class, or none. */
  BERTH_KUBERNETES_PRIORITY_CLASS: z.string().regex(NAME).optional(),
  /** Of kept workspaces; default: the cluster's default class. */
  BERTH_KUBERNETES_STORAGE_CLASS: z.string().regex(NAME).optional(),
  /** Which share of its tier's processors and memory a pod is sure of: the rest it gets where others leave it. */
  BERTH_KUBERNETES_REQUESTS: z.coerce.number().positive().max(1).default(0.5),
  /** The proxy of nodes as workers reach it, `http://host:port`: a Service behind which any node answers. None: workers have no way out. */
  BERTH_EGRESS_URL: z
    .string()
    .refine((text) => URL.canParse(text) && new URL(text).protocol === "http:", "http://host:port")
    .optional(),
  /** How long the scheduler may find no place before the start of a worker has failed. */
  BERTH_KUBERNETES_PLACE_WITHIN: duration("20s"),
};
