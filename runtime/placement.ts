/**
 * Which node should try to own a partition: rendezvous hashing (Thaler and Ravishankar, 1996). Every node
 * computes the same answer from the same view, and a node that comes or goes moves only its own share.
 */
import { createHash } from "node:crypto";

/** The node with the highest score; undefined when there is none. Pure and independent of the order given. */
export function decideOwner(partition: number, nodes: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestScore = "";
  for (const node of nodes) {
    const score = createHash("sha256").update(`${partition}:${node}`).digest("hex");
    if (best === undefined || score > bestScore || (score === bestScore && node > best)) {
      best = node;
      bestScore = score;
    }
  }
  return best;
}
