/** What is asked of the executor of a worker while nobody hosts it: it outlives its node. */
import {
  type DownReply,
  type DownRequest,
  downReplySchema,
  type WorkerStatus,
} from "../../protocols/executor.ts";
import { subjects } from "../../protocols/subjects.ts";
import { pack, unpack } from "../../runtime/ask-codec.ts";
import type { ToolOptions } from "./tool-options.ts";

const ANSWER_MS = 1_000;

/** Undefined when it does not answer. */
export async function readStatus(
  options: Pick<ToolOptions, "bus">,
  worker: string,
): Promise<WorkerStatus | undefined> {
  const reply = await ask(options, worker, { type: "status" });
  return reply?.ok ? reply.status : undefined;
}

/** Tells it to end itself, if it can be reached. */
export async function endWorker(
  options: Pick<ToolOptions, "bus">,
  worker: string,
  reason: string,
): Promise<void> {
  await ask(options, worker, { type: "stop", reason });
}

async function ask(
  { bus }: Pick<ToolOptions, "bus">,
  worker: string,
  request: DownRequest,
): Promise<DownReply | undefined> {
  try {
    const answer = await bus.request(subjects.down(worker), pack(request), ANSWER_MS);
    return downReplySchema.parse(unpack(answer));
  } catch {
    return undefined; // Nobody there, or too late: both are no answer.
  }
}
