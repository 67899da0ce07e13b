/**
 * Why an ask gets no answer: shortly before its time is over its actor's owner is asked what the actor waits on, and the
 * caller's `ask.timeout` says so. Costs nothing until an ask is late, and never lengthens its wait.
 */
import { asBerthError } from "../protocols/errors.ts";
import { type ActorRef, refName } from "../protocols/ids.ts";
import { inspectionSchema } from "../protocols/inspection.ts";
import { partitionOf } from "../protocols/partition.ts";
import { subjects } from "../protocols/subjects.ts";
import { explainWait } from "./inspection.ts";
import type { Late, Transport } from "./transport.ts";

/** The part of an ask's time that is kept for the question, and the most of it. */
const SHARE = 0.2;
const LONGEST_MS = 250;
/** Of that part, so that a silence is known before the end. */
const ANSWER_SHARE = 0.8;
const decoder = new TextDecoder();

/** `told` gets the answer, if one comes in time. */
export function inquiry(
  transport: Transport,
  ref: ActorRef,
  timeoutMs: number,
  told: (why: string) => void,
): Late {
  const beforeMs = Math.min(LONGEST_MS, timeoutMs * SHARE);
  return { beforeMs, fn: () => void explain(transport, ref, beforeMs * ANSWER_SHARE).then(told) };
}

async function explain(transport: Transport, ref: ActorRef, withinMs: number): Promise<string> {
  const subject = subjects.inspect(partitionOf(ref, transport.partitions), ref);
  const name = refName(ref);
  try {
    const data = await transport.bus.request(subject, new Uint8Array(), withinMs);
    const { active, node } = inspectionSchema.parse(JSON.parse(decoder.decode(data)));
    if (!active) return `${name} is not in the memory of its owner, node ${node}`;
    return `${name} on node ${node}: ${explainWait(active)}`;
  } catch (thrown) {
    if (asBerthError(thrown).code === "actor.moved") return `no node owns ${name} at this moment`;
    return `the owner of ${name} does not answer at all`;
  }
}
