/** Which node starts a worker. */
import { createHash } from "node:crypto";
import type { WorkerSpec } from "../../protocols/executor.ts";
import type { NodeRecord } from "../../protocols/records.ts";

/**
 * `home` holds its workspace: the worker comes back there while that node takes workers. Else rendezvous hashing: the same
 * workspace gets the same host as long as that host lives; workers without one spread by their own id.
 */
export function decideHost(
  spec: WorkerSpec,
  home: string | null,
  nodes: readonly NodeRecord[],
): NodeRecord | undefined {
  const key = spec.workspace === "job" ? spec.worker : `${spec.tenant}/${spec.workspace_key}`;
  const able = nodes.filter((node) => !node.draining && node.drivers.length > 0);
  const known = able.find((node) => node.id === home);
  if (known) return known;
  const ranked = able.map((node) => ({ node, rank: rankOf(node.id, key) }));
  return ranked.toSorted((a, b) => (a.rank < b.rank ? 1 : -1))[0]?.node;
}

function rankOf(node: string, key: string): string {
  return createHash("sha256").update(`${node}/${key}`).digest("hex");
}
