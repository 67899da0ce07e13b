/** One table of streams and buckets, made when they are missing. Names come from `protocols/subjects.ts`. */
import {
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { BerthError } from "../../protocols/errors.ts";
import { BUCKETS, STREAMS } from "../../protocols/subjects.ts";
import { isNotFound } from "./errors.ts";

export interface TopologyOptions {
  /** Copies of each stream: 1 on one server, 3 in production. */
  readonly replicas: number;
  /** What servers must be tagged with to keep them (default: any of the cluster that is asked). */
  readonly serverTags?: readonly string[];
  /** Fixed when the streams are made; later starts take what they find. */
  readonly partitions: number;
  /** Mail one actor may have waiting per lane; then senders get `actor.mailbox_full` (R7). */
  readonly mailboxCapacity: number;
  readonly journalRetentionMs: number;
  /** How long audit entries are kept; 0 is for good (default: a year). Fixed when the stream is made. */
  readonly auditRetentionMs?: number;
}

const NS_PER_MS = 1_000_000;
/** A duplicate message id is dropped for this long; older doubles are dropped by the receiver's record (R3). */
const DUPLICATE_WINDOW_MS = 120_000;
const PARTITIONS_KEY = "berth.partitions";
/** Consumers are three per partition and a few readers; the default of the server would stop at 1000. */
const MAX_CONSUMERS = 4_096;
const DEAD_LETTER_RETENTION_MS = 30 * 86_400_000;
const AUDIT_RETENTION_MS = 365 * 86_400_000;

type StreamTable = Partial<StreamConfig> & Pick<StreamConfig, "name">;

function partitioned(source: string, tokens: number, partitions: number) {
  const wild = Array.from({ length: tokens }, (_, i) => `{{wildcard(${i + 1})}}`).join(".");
  return {
    src: `${source}.${Array(tokens).fill("*").join(".")}`,
    dest: `${source}.{{partition(${partitions},1,2,3)}}.${wild}`,
  };
}

function bucket(name: string, extra: Partial<StreamConfig> = {}): StreamTable {
  return {
    name: `KV_${name}`,
    subjects: [`$KV.${name}.>`],
    max_msgs_per_subject: 1,
    discard: "new",
    deny_delete: true,
    allow_rollup_hdrs: true,
    allow_msg_ttl: true,
    subject_delete_marker_ttl: 60_000 * NS_PER_MS,
    ...extra,
  };
}

/** The broker takes no window of duplicates that is longer than what it keeps. */
function keptFor(ms: number): Partial<StreamConfig> {
  const window = ms === 0 ? DUPLICATE_WINDOW_MS : Math.min(DUPLICATE_WINDOW_MS, ms);
  return { max_age: ms * NS_PER_MS, duplicate_window: window * NS_PER_MS };
}

function table(options: TopologyOptions): StreamTable[] {
  const { partitions } = options;
  const metadata = { [PARTITIONS_KEY]: String(partitions) };
  const { actors, ...plain } = BUCKETS;
  return [
    {
      name: STREAMS.mail,
      subjects: ["berth.mail.>"],
      retention: RetentionPolicy.Workqueue,
      subject_transform: partitioned("berth.mail", 4, partitions),
      discard: "new",
      discard_new_per_subject: true,
      max_msgs_per_subject: options.mailboxCapacity,
      metadata,
    },
    {
      name: STREAMS.reminders,
      subjects: ["berth.remind.>", "berth.due.>"],
      retention: RetentionPolicy.Workqueue,
      subject_transform: partitioned("berth.due", 3, partitions),
      allow_msg_schedules: true,
      allow_msg_ttl: true,
      metadata,
    },
    {
      name: STREAMS.deadLetters,
      subjects: ["berth.dead.>"],
      max_age: DEAD_LETTER_RETENTION_MS * NS_PER_MS,
    },
    {
      name: STREAMS.audit,
      subjects: ["berth.audit.*"],
      ...keptFor(options.auditRetentionMs ?? AUDIT_RETENTION_MS),
      discard: "new",
      deny_delete: true,
      deny_purge: true,
    },
    bucket(actors, { metadata }),
    ...Object.values(plain).map((name) => bucket(name)),
    // The last: who finds it finds all.
    {
      name: STREAMS.journal,
      subjects: ["berth.journal.>"],
      ...keptFor(options.journalRetentionMs),
      republish: {
        src: "berth.journal.*.*.*.*",
        dest: "berth.live.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}",
      },
      metadata,
    },
  ];
}

/** Of streams that nodes have made: for those who may not make any. Throws `broker.unavailable` while there are none. */
export async function existingTopology(
  jsm: JetStreamManager,
): Promise<{ readonly partitions: number }> {
  const partitions = await partitionsOf(jsm, STREAMS.journal);
  if (partitions !== undefined) return { partitions };
  throw new BerthError("broker.unavailable", "no node has made its streams yet");
}

/** Makes what is missing and returns the partition count in force, which the first node decided. */
export async function ensureTopology(
  jsm: JetStreamManager,
  options: TopologyOptions,
): Promise<{ readonly partitions: number }> {
  const existing = await partitionsOf(jsm, STREAMS.mail);
  const partitions = existing ?? options.partitions;
  const tags = options.serverTags ?? [];
  for (const row of table({ ...options, partitions })) {
    await ensureStream(jsm, {
      storage: StorageType.File,
      num_replicas: options.replicas,
      allow_direct: true,
      max_consumers: MAX_CONSUMERS,
      duplicate_window: DUPLICATE_WINDOW_MS * NS_PER_MS,
      ...(tags.length > 0 ? { placement: { tags: [...tags], cluster: "" } } : {}),
      ...row,
    });
  }
  return { partitions };
}

async function partitionsOf(jsm: JetStreamManager, stream: string): Promise<number | undefined> {
  try {
    const { config } = await jsm.streams.info(stream);
    const count = Number(config.metadata?.[PARTITIONS_KEY]);
    if (Number.isInteger(count) && count > 0) return count;
    throw new BerthError("config.invalid", `stream ${stream} does not name its partition count`);
  } catch (thrown) {
    if (isNotFound(thrown)) return undefined;
    throw thrown;
  }
}

/** Throws `broker.unavailable` while the stream's servers elect who leads it: a first write would wait for that in vain. */
async function ensureStream(jsm: JetStreamManager, config: StreamTable): Promise<void> {
  const { cluster } = await jsm.streams.info(config.name).catch(async (thrown: unknown) => {
    if (!isNotFound(thrown)) throw thrown;
    // Two nodes may get here together: the same configuration twice is accepted by the server.
    await jsm.streams.add(config);
    return await jsm.streams.info(config.name);
  });
  if (cluster && !cluster.leader)
    throw new BerthError("broker.unavailable", `stream ${config.name} has no leader yet`);
}
