/** Dead letters of a `MemoryBroker`, with the same ids and order as on the real one. */
import { type DeadLetters, takesLetter } from "../dead-letters.ts";
import { deadLettersOf } from "../letter-replay.ts";
import type { Buckets, Mailboxes } from "../transport.ts";
import type { MemoryBroker } from "./broker.ts";

export function memoryDeadLetters(
  broker: MemoryBroker,
  ports: { readonly mailboxes: Mailboxes; readonly buckets: Buckets },
): DeadLetters {
  const drop = (test: (entry: (typeof broker.letters)[number]) => boolean) => {
    const kept = broker.letters.filter((entry) => !test(entry));
    return broker.letters.splice(0, broker.letters.length, ...kept).length - kept.length;
  };
  return deadLettersOf(
    {
      async list({ after, limit, ...filter }) {
        const end = after === undefined ? Number.POSITIVE_INFINITY : Number(after.slice(3));
        const found = broker.letters
          .filter(({ seq, letter }) => seq < end && takesLetter(filter, letter))
          .toReversed()
          .map(({ seq, letter }) => ({ ...letter, id: `dl-${seq}` }));
        const letters = found.slice(0, limit);
        return { letters, next: found.length > limit ? (letters.at(-1)?.id ?? null) : null };
      },
      async get(id) {
        const found = broker.letters.find((entry) => `dl-${entry.seq}` === id);
        return found && { letter: { ...found.letter, id }, written: found.letter.id };
      },
      remove: (id) => Promise.resolve(drop(({ seq }) => `dl-${seq}` === id) > 0),
      purge: (filter) => Promise.resolve(drop(({ letter }) => takesLetter(filter, letter))),
    },
    { ...ports, clock: broker.clock },
  );
}
