/** What a node knows of one partition and of the others, and what it should do about it. Pure. */
import type { NodeRecord, PartitionRecord } from "../protocols/records.ts";

export interface PartitionView {
  readonly self: string;
  readonly incarnation: string;
  readonly holding: boolean;
  /** This node hands everything over and takes nothing more: it drains, or there is a hold. */
  readonly leaving: boolean;
  readonly claim: PartitionRecord | undefined;
  /** Where the partition belongs by this view; undefined when every node is draining. */
  readonly home: string | undefined;
  /** Live nodes by id. */
  readonly nodes: ReadonlyMap<string, NodeRecord>;
}

export function decidePartition(view: PartitionView): "claim" | "release" | "abandon" | "keep" {
  const { claim, holding, home, incarnation, leaving, self } = view;
  const mine = claim?.node === self && claim.incarnation === incarnation;
  if (holding && !mine) return "abandon";
  const stays = holding && home === undefined;
  // A claim of ours is given back though nothing is held: its host could not open, or the broker was not told (N6).
  if (leaving || (home !== self && !stays)) return mine ? "release" : "keep";
  return holding || isHeldElsewhere(view) ? "keep" : "claim";
}

/** N2. */
function isHeldElsewhere({ claim, incarnation, nodes, self }: PartitionView): boolean {
  if (!claim?.node || (claim.node === self && claim.incarnation === incarnation)) return false;
  return nodes.get(claim.node)?.incarnation === claim.incarnation;
}
