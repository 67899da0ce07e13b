/** What a worker may send to an actor: frames of itself to sessions, nothing else. */
import { Session } from "../protocols/actors/session.ts";
import type { ActorRef } from "../protocols/ids.ts";

/** `worker` is the one that the broker let publish; a frame that names another is forged. */
export function admitUplink(worker: string, ref: ActorRef, type: string, input: unknown): boolean {
  if (ref.kind !== Session.kind || type !== "frame") return false;
  return (
    typeof input === "object" && input !== null && "worker" in input && input.worker === worker
  );
}
