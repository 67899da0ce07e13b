/** How operators speak to an actor of any kind: one of the runtime's own messages, as mail on its system lane. */
import { asBerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { SYSTEM_MESSAGES } from "../protocols/system.ts";
import type { Clock } from "./clock.ts";
import { freshUlid } from "./fresh-ulid.ts";
import type { Transport } from "./transport.ts";

/** Times in ms since the epoch. */
export type SystemOrder =
  | {
      readonly type: "$park" | "$stop";
      readonly code: string;
      readonly message: string;
      readonly until?: number;
    }
  | { readonly type: "$unpark" | "$restart" };

const DEFAULT_TIMEOUT_MS = 5_000;
const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 250;

/**
 * Resolves once the order is stored: the actor will obey it, wherever it is, unless it is stored in the dead letters.
 * Given the same `id` again it is one order. Rejects with `actor.mailbox_full` or `broker.unavailable`.
 */
export async function sendSystem(
  parts: { readonly transport: Pick<Transport, "mailboxes">; readonly clock: Clock },
  ref: ActorRef,
  order: SystemOrder,
  options: { readonly id?: string; readonly timeoutMs?: number } = {},
): Promise<void> {
  const { transport, clock } = parts;
  const { type, ...payload } = order;
  const envelope = {
    id: options.id ?? `sys_${freshUlid()}`,
    type,
    payload: SYSTEM_MESSAGES[type].parse(payload),
    sentAt: clock.now(),
  };
  const until = clock.monotonic() + (options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
    try {
      await transport.mailboxes.send(ref, "system", envelope);
      return;
    } catch (thrown) {
      const error = asBerthError(thrown);
      if (error.retry === "never" || clock.monotonic() + pause >= until) throw error;
    }
    await clock.sleep(pause);
  }
}
