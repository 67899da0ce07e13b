/** What a worker may send up: frames of its own, to sessions. The session then checks that it runs the job. */
import { Session } from "../protocols/actors/session.ts";
import type { ActorRef } from "../protocols/ids.ts";

/** The subject that the broker let it publish on names the worker; the frame must name the same one. Pure. */
export function admitUplink(worker: string, ref: ActorRef, type: string, input: unknown): boolean {
  const claimed =
    typeof input === "object" && input !== null && "worker" in input ? input.worker : undefined;
  return ref.kind === Session.kind && type === "frame" && claimed === worker;
}
