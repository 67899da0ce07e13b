/** Actors for operators: which are in memory and what they wait on, what one has stored, and orders to it. */
import { formatTime } from "../protocols/api.ts";
import type {
  ActivationPage,
  ActorListQuery,
  ApiActor,
  ApiActorRecord,
} from "../protocols/api-operators.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import { type ActorRef, refName } from "../protocols/ids.ts";
import {
  type ActivationQuery,
  type ApiActivation,
  activationsSchema,
  type Inspection,
  inspectionSchema,
  storedRecordSchema,
} from "../protocols/inspection.ts";
import { partitionOf } from "../protocols/partition.ts";
import { nodeRecordSchema } from "../protocols/records.ts";
import { subjects } from "../protocols/subjects.ts";
import { type ActorRecord, decodeRecord, type OutboxEntry } from "../runtime/record.ts";
import { parseValue, readAll } from "./listing.ts";
import type { Services } from "./services.ts";

/** Nodes asked at once, and how long one may take: it answers from memory. */
const AT_ONCE = 16;
const NODE_MS = 2_000;
const encoder = new TextEncoder();

/** One page over all nodes, by name; a node that does not answer is named, not waited for. */
export async function listActors(
  services: Services,
  { node, ...query }: ActorListQuery,
): Promise<ActivationPage> {
  const { buckets } = services.transport;
  const live = (await readAll(buckets, "nodes", nodeRecordSchema)).map(({ value }) => value.id);
  const asked = node === undefined ? live : live.filter((id) => id === node);
  if (node !== undefined && asked.length === 0)
    throw new BerthError("request.not_found", "there is no such node");
  const unanswered: string[] = [];
  const found: ApiActivation[] = [];
  for (let at = 0; at < asked.length; at += AT_ONCE) {
    const some = asked.slice(at, at + AT_ONCE);
    const answers = await Promise.all(some.map((id) => ask(services, id, query)));
    for (const [i, actors] of answers.entries()) {
      if (actors) found.push(...actors);
      else unanswered.push(some[i] ?? "");
    }
  }
  return { ...pageByName(found, query.limit), unanswered };
}

/** The first `limit` by name; an actor that two nodes tell of, while it moves, is the later owner's. Pure. */
export function pageByName(
  found: readonly ApiActivation[],
  limit: number,
): { readonly data: ApiActivation[]; readonly next: string | null } {
  const newest = new Map<string, ApiActivation>();
  for (const actor of found) {
    const known = newest.get(refName(actor));
    if (!known || known.epoch < actor.epoch) newest.set(refName(actor), actor);
  }
  const sorted = [...newest].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const page = sorted.slice(0, limit);
  return {
    data: page.map(([, actor]) => actor),
    next: sorted.length > limit ? (page.at(-1)?.[0] ?? null) : null,
  };
}

/** Undefined when the node does not answer, or not as one of this version does. */
async function ask(
  { logger, transport }: Services,
  node: string,
  query: Omit<ActorListQuery, "node">,
): Promise<ApiActivation[] | undefined> {
  const wanted: ActivationQuery = { ...query, limit: query.limit + 1, sort: "name" };
  try {
    const data = encoder.encode(JSON.stringify(wanted));
    const answer = await transport.bus.request(subjects.node(node, "actors"), data, NODE_MS);
    return parseValue(activationsSchema, answer)?.actors;
  } catch (thrown) {
    logger.info({ err: asBerthError(thrown), node }, "a node did not tell of its actors");
    return undefined;
  }
}

/** Rejects with `request.not_found` when the actor has no record and is in nobody's memory. */
export async function showActor(
  services: Services,
  ref: ActorRef,
  options: { readonly state: boolean },
): Promise<ApiActor> {
  const [owner, record] = await Promise.all([inspect(services, ref), readRecord(services, ref)]);
  if (!record && !owner?.active)
    throw new BerthError("request.not_found", "there is no such actor");
  return {
    tenant: ref.tenant,
    kind: ref.kind,
    key: ref.key,
    partition: partitionOf(ref, services.transport.partitions),
    owner: owner?.node ?? null,
    active: owner?.active ?? null,
    record: record ? recordView(record, options.state) : null,
  };
}

/** Undefined when nobody owns the actor's partition at this moment, or the owner is silent. */
async function inspect({ transport }: Services, ref: ActorRef): Promise<Inspection | undefined> {
  const subject = subjects.inspect(partitionOf(ref, transport.partitions), ref);
  try {
    return parseValue(
      inspectionSchema,
      await transport.bus.request(subject, new Uint8Array(), NODE_MS),
    );
  } catch (thrown) {
    const { code } = asBerthError(thrown);
    if (code === "actor.moved" || code === "ask.timeout") return undefined;
    throw thrown;
  }
}

interface Stored {
  readonly revision: number;
  readonly journaled: boolean;
  readonly record: ActorRecord;
}

async function readRecord(services: Services, ref: ActorRef): Promise<Stored | undefined> {
  try {
    return await loadRecord(services, ref);
  } catch (thrown) {
    // With a credential of its own a gateway reads no records: any node does it for an operator.
    if (asBerthError(thrown).code !== "auth.forbidden") throw thrown;
    return await askForRecord(services, ref);
  }
}

async function askForRecord({ transport }: Services, ref: ActorRef): Promise<Stored | undefined> {
  const nodes = await readAll(transport.buckets, "nodes", nodeRecordSchema);
  const ask = async ({ value: { id } }: (typeof nodes)[number]) => {
    const asked = encoder.encode(refName(ref));
    const answer = await transport.bus.request(subjects.node(id, "record"), asked, NODE_MS);
    const stored = parseValue(storedRecordSchema, answer);
    if (stored) return stored;
    throw new BerthError("internal.unexpected", `${id} is not readable`);
  };
  for (let at = 0; at < nodes.length; at += AT_ONCE) {
    const first = Promise.any(nodes.slice(at, at + AT_ONCE).map(ask));
    const stored = await first.catch(() => undefined);
    if (!stored) continue;
    const { data, journaled, revision } = stored;
    if (data === null || journaled === null || revision === null) return undefined;
    return { journaled, revision, record: decodeRecord(Buffer.from(data, "base64")) };
  }
  throw new BerthError("gateway.unavailable", "no node could tell of the actor's record");
}

async function loadRecord({ transport }: Services, ref: ActorRef): Promise<Stored | undefined> {
  for (const journaled of [false, true]) {
    const found = await transport.records.load(ref, journaled);
    if (found) return { journaled, revision: found.revision, record: decodeRecord(found.data) };
  }
  return undefined;
}

/** Payloads, and what tools were given, stay out: they may hold what only the tenant may see. */
function recordView({ journaled, record, revision }: Stored, withState: boolean): ApiActorRecord {
  const { effects, outbox, reminders, senders, standing } = record;
  return {
    revision,
    journaled,
    epoch: record.epoch,
    writer: record.writer,
    commit: record.commit,
    cursor: record.cursor,
    outbox: outbox.map(entryView),
    effects: Object.entries(effects).map(([id, { tool }]) => ({ id, tool })),
    reminders: Object.keys(reminders),
    heard: senders.young.count + senders.old.count,
    last_seq: record.lastSeq ?? null,
    standing: standing
      ? {
          state: standing.state,
          code: standing.code,
          message: standing.message,
          since: formatTime(standing.since),
          until: standing.until === undefined ? null : formatTime(standing.until),
        }
      : null,
    ...(withState ? { state: record.state } : {}),
  };
}

function entryView(entry: OutboxEntry): { readonly op: string; readonly to: string } {
  switch (entry.op) {
    case "tell":
      return { op: `tell ${entry.envelope.type}`, to: refName(entry.to) };
    case "put":
      return { op: `put ${entry.mode}`, to: `${entry.bucket}/${entry.key}` };
    case "remind":
      return { op: "remind", to: entry.due.name };
    case "forget":
      return { op: "forget", to: entry.name };
    case "dead":
      return { op: "dead letter", to: refName(entry.letter.actor) };
  }
}
