/** The cluster that tests use: `npm run test:kubernetes` makes one, and says where by BERTH_TEST_KUBECONFIG. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { docker } from "./docker.ts";
import { eventually } from "./eventually.ts";

export const KUBECONFIG = process.env["BERTH_TEST_KUBECONFIG"] ?? "";

const FOLDER = join(dirname(KUBECONFIG), "..", "run");
/** Who asked the API for what, one JSON a line; of the cluster that was started for the tests. */
export const AUDIT_LOG = join(FOLDER, "audit.log");

/** Whether the cluster was started for the tests, and may be broken. */
export const isClusterOurs = existsSync(AUDIT_LOG);

export function pidOf(part: string): number {
  return Number(readFileSync(join(FOLDER, `${part}.pid`), "utf8"));
}

/** SIGKILL; resolves when the process is gone. */
export async function killPart(part: string): Promise<void> {
  const pid = pidOf(part);
  process.kill(pid, "SIGKILL");
  await eventually(() => !/^State:\s*[^ZX]/m.test(statusOf(pid)), { name: `${part} is gone` });
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "";
  }
}

/** Starts what was killed of it; resolves when all of it is ready. */
export function restartPart(part: string): void {
  const script = new URL("../../deploy/bootstrap/kubernetes/up.sh", import.meta.url).pathname;
  execFileSync("bash", [script, part], {
    env: { ...process.env, BERTH_KUBERNETES_CACHE: join(FOLDER, "..") },
    timeout: 100_000,
  });
}

/** What it printed. */
export function kubectl(args: readonly string[], input?: string): string {
  return execFileSync("kubectl", ["--kubeconfig", KUBECONFIG, "--request-timeout=20s", ...args], {
    encoding: "utf8",
    timeout: 60_000,
    // More than all schemas of a server.
    maxBuffer: 64 * 1024 ** 2,
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

/** Everything in the namespace with the deployment's label; `more`: kinds that not every cluster has. */
export function clusterLeftovers(namespace: string, deployment: string, more = ""): string[] {
  const kinds = `pods,secrets,persistentvolumeclaims,networkpolicies${more && `,${more}`}`;
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

/** A kubeconfig of an account, by a token as its pods have one. */
export function nodesKubeconfig(
  namespace: string,
  account: string,
): { readonly path: string; readonly remove: () => void } {
  const token = kubectl(["--namespace", namespace, "create", "token", account]).trim();
  const view = kubectl(["config", "view", "--raw", "--flatten", "--output=json"]);
  const { clusters } = JSON.parse(view) as { clusters: readonly { name: string }[] };
  const folder = mkdtempSync(join(tmpdir(), "berth-kubeconfig-"));
  const path = join(folder, "config");
  const context = { cluster: clusters[0]?.name, user: account };
  writeFileSync(
    path,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters,
      users: [{ name: account, user: { token } }],
      contexts: [{ name: "test", context }],
      "current-context": "test",
    }),
    { mode: 0o600 },
  );
  return { path, remove: () => rmSync(folder, { recursive: true }) };
}
