/** The cluster that tests use: `npm run test:kubernetes` makes one, and says where by BERTH_TEST_KUBECONFIG. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { docker } from "./docker.ts";
import { eventually } from "./eventually.ts";

export const KUBECONFIG = process.env["BERTH_TEST_KUBECONFIG"] ?? "";

/** What it printed. */
export function kubectl(args: readonly string[], input?: string): string {
  return execFileSync("kubectl", ["--kubeconfig", KUBECONFIG, "--request-timeout=20s", ...args], {
    encoding: "utf8",
    timeout: 60_000,
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    ...(input === undefined ? {} : { input }),
  });
}

export function kubectlJson(args: readonly string[]): unknown {
  return JSON.parse(kubectl([...args, "--output=json"]));
}

/** A namespace for the workers of a test, gone in the end with all that is in it. */
export async function workersNamespace(): Promise<AsyncDisposable & { readonly name: string }> {
  const name = `berth-test-${randomBytes(4).toString("hex")}`;
  kubectl(["create", "namespace", name]);
  await eventually(
    () => kubectl(["--namespace", name, "get", "serviceaccount", "default"]) !== "",
    {
      name: "the namespace's account",
      within: 30_000,
    },
  );
  return {
    name,
    async [Symbol.asyncDispose]() {
      kubectl(["delete", "namespace", name, "--wait=false"]);
    },
  };
}

/** Everything in the namespace with the deployment's label. */
export function clusterLeftovers(namespace: string, deployment: string): string[] {
  const kinds = "pods,secrets,persistentvolumeclaims,networkpolicies";
  const selector = `--selector=berth.deployment=${deployment}`;
  const found = kubectl(["--namespace", namespace, "get", kinds, selector, "--output=name"]);
  return found.split("\n").filter((line) => line !== "");
}

/** Address of this machine as pods on its engine's bridge see it. */
export async function bridgeAddress(): Promise<string> {
  const bridge = await docker.getNetwork("bridge").inspect();
  const address = bridge.IPAM?.Config?.[0]?.["Gateway"];
  if (address === undefined) throw new Error("The engine's bridge has no address");
  return address;
}
