/** Which ticket a place gives back to its user when it holds as many as it may. */
import type { JobTicket } from "../../protocols/job.ts";

/**
 * Undefined when there is room. Else the newest ticket of the tenant that holds most, the new one counted, so
 * that one tenant's flood never keeps another's job out. A retried job stays: its user gave it away already.
 */
export function decideRoom(
  queue: readonly JobTicket[],
  ticket: JobTicket,
  maxQueued: number,
): JobTicket | undefined {
  if (queue.length < maxQueued || ticket.attempt > 1) return undefined;
  const all = [...queue, ticket];
  const held = new Map<string, number>();
  for (const { tenant } of all) held.set(tenant, (held.get(tenant) ?? 0) + 1);
  const most = Math.max(...held.values());
  const gives = (other: JobTicket) => other.attempt === 1 && held.get(other.tenant) === most;
  return gives(ticket) ? ticket : (all.findLast(gives) ?? ticket);
}
