/** How the cluster's API is reached: a kubeconfig that is named, the pod that we run in, or the user's own kubeconfig. */
import { existsSync } from "node:fs";
import type { KubeConfig } from "@kubernetes/client-node";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";

const ACCOUNT_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** Whether this process runs in a pod that may speak to its cluster. */
export function isInCluster(): boolean {
  return existsSync(ACCOUNT_TOKEN);
}

/** Rejects with `driver.unavailable` when there is no way in. The library is loaded by this alone: it takes a second. */
export async function clusterAccess(kubeconfig: string | undefined): Promise<KubeConfig> {
  const library = await import("@kubernetes/client-node");
  const access = new library.KubeConfig();
  try {
    if (kubeconfig !== undefined) access.loadFromFile(kubeconfig);
    else if (isInCluster()) access.loadFromCluster();
    else access.loadFromDefault();
  } catch (thrown) {
    const { message } = asBerthError(thrown);
    throw new BerthError("driver.unavailable", `The kubeconfig cannot be used: ${message}`);
  }
  if (access.getCurrentCluster() === null)
    throw new BerthError("driver.unavailable", "No Kubernetes cluster is configured");
  return access;
}
