/**
 * Which partition an actor's mail, record and asks belong to: FNV-1a (32 bit) over tenant, kind and
 * key with nothing between them, modulo the count. This is what nats-server computes for
 * `{{partition(n,1,2,3)}}`, so a publisher with the stock `nats` CLI and a node agree; an
 * integration test compares the two.
 */
import type { ActorRef } from "./ids.ts";

const encoder = new TextEncoder();

export function partitionOf(ref: ActorRef, count: number): number {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(ref.tenant + ref.kind + ref.key)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash % count;
}
