/** What a node knows of one partition and of the others, and what it should do about it. Pure. */
import type { NodeRecord, PartitionRecord } from "../protocols/records.ts";

export interface PartitionView {
  readonly self: string;
  readonly incarnation: string;
  readonly holding: boolean;
  /** This node hands everything over and takes nothing more. */
  readonly leaving: boolean;
  readonly claim: PartitionRecord | undefined;
  /** Where the partition belongs by this view; undefined when every node is draining. */
  readonly home: string | undefined;
  /** Live nodes by id. */
  readonly nodes: ReadonlyMap<string, NodeRecord>;
}

export function decidePartition(view: PartitionView): "claim" | "release" | "abandon" | "keep" {
  const { claim, holding, home, incarnation, leaving, nodes, self } = view;
  const mine = claim?.node === self && claim.incarnation === incarnation;
  if (holding && !mine) return "abandon";
  if (leaving) return holding ? "release" : "keep";
  if (holding) return home === undefined || home === self ? "keep" : "release";
  if (home !== self) return "keep";
  if (!claim?.node || mine) return "claim";
  const holder = nodes.get(claim.node);
  return holder && holder.incarnation === claim.incarnation ? "keep" : "claim"; // N2
}
