/** The queue that an actor holds, as a projection that people and gauges read: absent when nothing waits. */
import type { QueueRecord } from "../protocols/records.ts";
import type { Tier } from "../protocols/tiers.ts";
import type { Context } from "../runtime/actor.ts";

interface ShowingState {
  /** What the projection says now, so that a turn that changed nothing writes nothing. */
  shown: number;
}

/** Called at the end of a turn; `tier` is that of the queue's jobs. */
export function showQueue<S extends ShowingState>(
  ctx: Pick<Context<S, Record<never, never>>, "put" | "self" | "state">,
  tier: Tier,
  waiting: number,
  oldestAt: number,
): void {
  if (waiting === ctx.state.shown) return;
  ctx.state.shown = waiting;
  const { tenant, kind, key } = ctx.self;
  const record: QueueRecord = { tier, waiting, oldest_at: oldestAt };
  ctx.put("queues", `${tenant}.${kind}.${key}`, waiting === 0 ? undefined : record);
}
