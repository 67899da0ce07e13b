/** What is there when everything has settled: read back through the runtime, and from the broker's buckets. */
import { type DeadLetter, partitionRecordSchema } from "../../protocols/records.ts";
import type { Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { Transport } from "../../runtime/transport.ts";
import { Alarm, Flooded, Frail, type Heard, Ledger, Relay, type Ring } from "./actors.ts";
import { TENANT } from "./connection.ts";
import type { Findings, Told } from "./findings.ts";

export interface Held {
  /** By `kind/key`, by sender. */
  readonly heard: ReadonlyMap<string, Readonly<Record<string, Heard>>>;
  /** What each relay says it has sent on, by its key. */
  readonly sent: ReadonlyMap<string, number>;
  /** What the relays' ledger has heard from each. */
  readonly relayed: Readonly<Record<string, Heard>>;
  /** By alarm and name. */
  readonly rings: ReadonlyMap<string, Readonly<Record<string, Ring>>>;
  readonly floods: ReadonlyMap<string, number>;
  readonly letters: readonly DeadLetter[];
}

const READ = { timeoutMs: 10_000 } as const;
const SETTLE_MS = 60_000;
const PAUSE_MS = 500;
const PAGE = 200;

/** Reads until all that was promised is there, for a minute at most. */
export async function gather(
  parts: { readonly client: Client; readonly transport: Transport },
  findings: readonly Findings[],
): Promise<Held> {
  const until = systemClock.monotonic() + SETTLE_MS;
  for (;;) {
    const held = await readAll(parts, findings).catch((thrown: unknown) => {
      if (systemClock.monotonic() > until) throw thrown;
      return undefined;
    });
    if (held && (isComplete(held, findings) || systemClock.monotonic() > until)) return held;
    await systemClock.sleep(PAUSE_MS);
  }
}

async function readAll(
  { client, transport }: { readonly client: Client; readonly transport: Transport },
  findings: readonly Findings[],
): Promise<Held> {
  const told = findings.flatMap((each) => each.told);
  const heard = new Map<string, Readonly<Record<string, Heard>>>();
  const sent = new Map<string, number>();
  for (const { kind, key } of told) {
    const name = `${kind}/${key}`;
    if (heard.has(name)) continue;
    if (kind === "relay") {
      const found = await client.actor(Relay, TENANT, key).read({}, READ);
      heard.set(name, found.heard);
      sent.set(key, found.sent);
    } else {
      const ledger = client.actor(Ledger, TENANT, key);
      const frail = client.actor(Frail, TENANT, key);
      const found = await (kind === "ledger" ? ledger.read({}, READ) : frail.read({}, READ));
      heard.set(name, found.heard);
    }
  }
  const rings = new Map<string, Readonly<Record<string, Ring>>>();
  for (const key of new Set(findings.flatMap((each) => each.reminders.map((one) => one.key))))
    rings.set(key, (await client.actor(Alarm, TENANT, key).read({}, READ)).rings);
  const floods = new Map<string, number>();
  for (const { key } of findings.flatMap((each) => each.floods))
    floods.set(key, (await client.actor(Flooded, TENANT, key).read({}, READ)).count);
  const relayed = (await client.actor(Ledger, TENANT, "relayed").read({}, READ)).heard;
  return { heard, sent, relayed, rings, floods, letters: await allLetters(transport) };
}

async function allLetters({ deadLetters }: Transport): Promise<DeadLetter[]> {
  const all: DeadLetter[] = [];
  for (let after: string | undefined; ; ) {
    const page = await deadLetters.list({ limit: PAGE, ...(after === undefined ? {} : { after }) });
    all.push(...page.letters);
    if (page.next === null) return all;
    after = page.next;
  }
}

/** Whether nothing that is still on its way is missing. */
function isComplete(held: Held, findings: readonly Findings[]): boolean {
  const letters = new Set(held.letters.map((letter) => messageOf(letter)));
  return findings.every(
    (each) =>
      each.told.every((told) => unheard(held, told).length === 0) &&
      each.poisons.every((id) => letters.has(id)) &&
      each.floods.every(({ key, accepted }) => (held.floods.get(key) ?? 0) >= accepted) &&
      each.reminders.every(
        ({ cancelled, key, name }) => cancelled || (held.rings.get(key)?.[name]?.rings ?? 0) > 0,
      ) &&
      [...held.sent].every(([key, count]) => (held.relayed[`relay:${key}`]?.last ?? 0) >= count),
  );
}

/** Acknowledged numbers that the receiver has not heard. */
export function unheard(held: Held, { acked, key, kind, sender }: Told): number[] {
  const heard = held.heard.get(`${kind}/${key}`)?.[sender];
  const missing = (heard?.missing ?? []).filter((n) => n <= acked);
  for (let n = (heard?.last ?? 0) + 1; n <= acked && missing.length < PAGE; n += 1) missing.push(n);
  return missing;
}

/** The id that the sender gave the message. */
export function messageOf({ envelope }: DeadLetter): string {
  return String((envelope as { readonly id?: unknown }).id);
}

/** Owners by partition, as the claims have it. */
export async function readOwners({ buckets }: Transport): Promise<Map<number, string | null>> {
  const entries = await buckets.list("partitions", "");
  const decoder = new TextDecoder();
  return new Map(
    entries.map(({ key, value }) => [
      Number(key),
      partitionRecordSchema.parse(JSON.parse(decoder.decode(value))).node,
    ]),
  );
}
