/** A job of the shell agent whose events are read while it runs. */
import type { BerthClient } from "../../gateway/client.ts";
import type { SessionEvent } from "../../protocols/events.ts";
import { eventually } from "./eventually.ts";

export interface FollowedJob {
  readonly id: string;
  readonly session_id: string;
  /** Grows until the job has ended. */
  readonly events: readonly SessionEvent[];
  /** Resolves at the job's end. */
  readonly reading: Promise<void>;
}

/** Resolves once the job has printed something. */
export async function followPrintingJob(client: BerthClient, prompt: string): Promise<FollowedJob> {
  const { id, session_id } = await client.submit({ agent: "shell", prompt });
  const events: SessionEvent[] = [];
  const reading = (async () => {
    for await (const event of client.jobEvents(id)) events.push(event);
  })();
  await eventually(() => events.some(({ type }) => type === "agent.output"), {
    within: 30_000,
    name: "the job prints",
  });
  return { id, session_id, events, reading };
}
