/** Which node starts a worker. */
import { createHash } from "node:crypto";
import type { WorkerSpec } from "../../protocols/executor.ts";
import type { NodeRecord } from "../../protocols/records.ts";

/**
 * Rendezvous hashing: the same key gets the same host as long as that host lives. Workers with a kept workspace
 * come back to the host that holds it; the others spread by their own id, and a repeated start meets its first.
 */
export function decideHost(spec: WorkerSpec, nodes: readonly NodeRecord[]): NodeRecord | undefined {
  const key = spec.workspace === "job" ? spec.worker : `${spec.tenant}/${spec.workspace_key}`;
  const able = nodes.filter((node) => !node.draining && node.drivers.length > 0);
  const ranked = able.map((node) => ({ node, rank: rankOf(node.id, key) }));
  return ranked.toSorted((a, b) => (a.rank < b.rank ? 1 : -1))[0]?.node;
}

function rankOf(node: string, key: string): string {
  return createHash("sha256").update(`${node}/${key}`).digest("hex");
}
