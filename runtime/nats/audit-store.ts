/** Audit chains in their stream: one subject per tenant, to which anybody may append and from which nobody may remove. */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { type AuditEntry, auditEntrySchema } from "../../protocols/audit.ts";
import { STREAMS, subjects } from "../../protocols/subjects.ts";
import type { AuditStore } from "../audit.ts";
import { type DirectBatchParts, readDirectBatch } from "./direct-batch.ts";
import { fromNats, isNotFound } from "./errors.ts";
import type { Publisher } from "./publisher.ts";

const BATCH = 256;
const NS_PER_MS = 1_000_000;
const decoder = new TextDecoder();

export function natsAuditStore(
  parts: DirectBatchParts & { readonly publisher: Publisher },
): AuditStore {
  const { jsm, publisher } = parts;
  return {
    async newest(tenant) {
      const found = await getMessage(jsm, { last_by_subj: subjects.audit(tenant) });
      return found && { entry: decode(found), revision: found.seq };
    },
    async append(entry, expected) {
      const data = new TextEncoder().encode(JSON.stringify(entry));
      await publisher.publish(subjects.audit(entry.tenant), data, { expected, id: entry.id });
    },
    async read(tenant, from, limit) {
      if (tenant === undefined) {
        const found = await forward(parts, undefined, from, limit);
        return found.map((message) => ({ place: message.seq, entry: decode(message) }));
      }
      const start = await seek(parts, tenant, from);
      const found = await forward(parts, tenant, start, limit);
      return found.map(decode).map((entry) => ({ place: entry.seq, entry }));
    },
    bounds: (tenant) => bounds(parts, tenant),
    async retentionMs() {
      const { config } = await infoOf(jsm);
      return config.max_age > 0 ? config.max_age / NS_PER_MS : null;
    },
  };
}

/** The sequence of the chain's first message at or behind a place: found by halves, for the stream keeps no index of places. */
async function seek(parts: DirectBatchParts, tenant: string, place: number): Promise<number> {
  const { state } = await infoOf(parts.jsm);
  let low = Math.max(1, state.first_seq);
  let high = state.last_seq + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [found] = await forward(parts, tenant, middle, 1);
    if (found && decode(found).seq < place) low = found.seq + 1;
    else high = middle;
  }
  return low;
}

/** Messages from a sequence on, oldest first. */
async function forward(
  parts: DirectBatchParts,
  tenant: string | undefined,
  from: number,
  limit: number,
): Promise<StoredMsg[]> {
  const filter = subjects.audit(tenant ?? "*");
  const messages: StoredMsg[] = [];
  let seq = Math.max(1, from);
  while (messages.length < limit) {
    const batch = Math.min(BATCH, limit - messages.length);
    const query = { seq, next_by_subj: filter, batch };
    const found = await readDirectBatch(parts, STREAMS.audit, query);
    messages.push(...found);
    const last = found.at(-1);
    if (!last || found.length < batch) break;
    seq = last.seq + 1;
  }
  return messages;
}

async function bounds(parts: DirectBatchParts, tenant: string | undefined) {
  const { jsm } = parts;
  const none = { first: 1, last: 0 };
  if (tenant === undefined) {
    const { state } = await infoOf(jsm);
    return state.messages === 0 ? none : { first: state.first_seq, last: state.last_seq };
  }
  const [first] = await forward(parts, tenant, 1, 1);
  const last = await getMessage(jsm, { last_by_subj: subjects.audit(tenant) });
  return first && last ? { first: decode(first).seq, last: decode(last).seq } : none;
}

async function getMessage(
  jsm: JetStreamManager,
  query: { readonly last_by_subj: string },
): Promise<StoredMsg | undefined> {
  try {
    return (await jsm.streams.getMessage(STREAMS.audit, query)) ?? undefined;
  } catch (thrown) {
    if (isNotFound(thrown)) return undefined;
    throw fromNats(thrown);
  }
}

async function infoOf(jsm: JetStreamManager) {
  try {
    return await jsm.streams.info(STREAMS.audit);
  } catch (thrown) {
    throw fromNats(thrown);
  }
}

/** Entries are written by us alone; one that cannot be read is an error to look into, not to skip. */
function decode({ data }: StoredMsg): AuditEntry {
  return auditEntrySchema.parse(JSON.parse(decoder.decode(data)));
}
