/** Dead letters of a `MemoryBroker`, with the same ids and order as on the real one. */
import { BerthError } from "../../protocols/errors.ts";
import { type DeadLetters, replayEnvelope } from "../dead-letters.ts";
import type { Mailboxes } from "../transport.ts";
import type { MemoryBroker } from "./broker.ts";

export function memoryDeadLetters(broker: MemoryBroker, mailboxes: Mailboxes): DeadLetters {
  const stored = (id: string) => broker.letters.find((entry) => `dl-${entry.seq}` === id);
  const drop = (test: (entry: (typeof broker.letters)[number]) => boolean) => {
    const kept = broker.letters.filter((entry) => !test(entry));
    return broker.letters.splice(0, broker.letters.length, ...kept).length - kept.length;
  };
  return {
    async list({ tenant, after, limit }) {
      const end = after === undefined ? Number.POSITIVE_INFINITY : Number(after.slice(3));
      const found = broker.letters
        .filter(({ seq, letter }) => seq < end && (!tenant || letter.actor.tenant === tenant))
        .toReversed()
        .map(({ seq, letter }) => ({ ...letter, id: `dl-${seq}` }));
      const letters = found.slice(0, limit);
      return { letters, next: found.length > limit ? (letters.at(-1)?.id ?? null) : null };
    },
    async get(id) {
      const found = stored(id);
      return found && { ...found.letter, id };
    },
    async replay(id) {
      const found = stored(id);
      if (!found) throw new BerthError("request.not_found", `there is no dead letter "${id}"`);
      const envelope = replayEnvelope(found.letter, `replay:${id}`, broker.clock.now());
      await mailboxes.send(found.letter.actor, found.letter.lane, envelope);
      drop((entry) => entry === found);
    },
    async purge({ id, tenant }) {
      if (id !== undefined) return drop(({ seq }) => `dl-${seq}` === id);
      return drop(({ letter }) => tenant === undefined || letter.actor.tenant === tenant);
    },
  };
}
