/**
 * The only place where a subject, stream, bucket or consumer name is built or taken apart. After the
 * verb the tenant comes first, so that one prefix grants or denies a tenant. All parts are identifiers
 * (`ids.ts`), so none holds a dot or a wildcard.
 */
import type { ActorRef } from "./ids.ts";
import type { MailLane } from "./protocol.ts";

export const STREAMS = {
  /** Mailboxes: a work queue; a message leaves when its turn has committed. */
  mail: "BERTH_MAIL",
  /** Reminders: message schedules and what they fired. */
  reminders: "BERTH_REMINDERS",
  /** Records of journaled actors, kept: the event log of each session. */
  journal: "BERTH_JOURNAL",
  deadLetters: "BERTH_DEAD_LETTERS",
  /** Who did what that needed a privilege, and who was denied: a chain per tenant, append only. */
  audit: "BERTH_AUDIT",
} as const;

export const BUCKETS = {
  /** One JSON record per actor that is not journaled. */
  actors: "berth-actors",
  /** One lease per live node, with a TTL. */
  nodes: "berth-nodes",
  /** Who tries to own each partition, with its epoch. */
  partitions: "berth-partitions",
  /** How far each partition's outboxes are sent: where a recovery begins. */
  checkpoints: "berth-checkpoints",
  tenants: "berth-tenants",
  keys: "berth-keys",
  jobs: "berth-jobs",
  sessions: "berth-sessions",
  workers: "berth-workers",
  /** Dormant workers that were claimed, and for whom: the first writer wins. */
  claims: "berth-claims",
  /** Jobs that wait, per actor that holds them; absent when none does. */
  queues: "berth-queues",
  idempotency: "berth-idempotency",
  /** Users' sealed credentials; nodes alone can open them. */
  vault: "berth-vault",
  /** Accounts of workers in the broker. */
  accounts: "berth-accounts",
} as const;
export type Bucket = keyof typeof BUCKETS;

const path = (ref: ActorRef) => `${ref.tenant}.${ref.kind}.${ref.key}`;

export const subjects = {
  /** Where a tell is published; the stream puts the partition in front of the tenant. */
  mail: (ref: ActorRef, lane: MailLane) => `berth.mail.${path(ref)}.${lane}`,
  mailOfLane: (partition: number, lane: MailLane) => `berth.mail.${partition}.*.*.*.${lane}`,
  /** As it is stored: where a tell was published, with its partition. */
  storedMail: (partition: number, ref: ActorRef, lane: MailLane) =>
    `berth.mail.${partition}.${path(ref)}.${lane}`,
  /** The schedule of one reminder, and where it fires. */
  reminder: (ref: ActorRef, name: string) => `berth.remind.${path(ref)}.${name}`,
  due: (ref: ActorRef) => `berth.due.${path(ref)}`,
  dueOfPartition: (partition: number) => `berth.due.${partition}.>`,
  storedDue: (partition: number, ref: ActorRef) => `berth.due.${partition}.${path(ref)}`,
  record: (partition: number, ref: ActorRef) => `$KV.${BUCKETS.actors}.${partition}.${path(ref)}`,
  recordsOfPartition: (partition: number) => `$KV.${BUCKETS.actors}.${partition}.>`,
  journal: (partition: number, ref: ActorRef) => `berth.journal.${partition}.${path(ref)}`,
  journalOfPartition: (partition: number) => `berth.journal.${partition}.>`,
  /** Core subject on which each stored journal record appears at once. */
  live: (ref: ActorRef) => `berth.live.${path(ref)}`,
  ask: (partition: number, ref: ActorRef) => `berth.ask.${partition}.${path(ref)}`,
  asksOfPartition: (partition: number) => `berth.ask.${partition}.>`,
  /** What an actor's owner tells of it at once, without a turn: JSON. */
  inspect: (partition: number, ref: ActorRef) => `berth.inspect.${partition}.${path(ref)}`,
  inspectionsOfPartition: (partition: number) => `berth.inspect.${partition}.>`,
  deadLetter: (ref: ActorRef) => `berth.dead.${path(ref)}`,
  deadLettersOf: (filter: { readonly [K in keyof ActorRef]?: string | undefined }) =>
    `berth.dead.${filter.tenant ?? "*"}.${filter.kind ?? "*"}.${filter.key ?? "*"}`,
  /** A tenant's audit chain. */
  audit: (tenant: string) => `berth.audit.${tenant}`,
  /** What a worker publishes: its own id comes first, its credential allows nothing else. */
  up: (worker: string, partition: number, ref: ActorRef) =>
    `berth.up.${worker}.${partition}.${path(ref)}`,
  upOfPartition: (partition: number) => `berth.up.*.${partition}.>`,
  hello: (worker: string) => `berth.hello.${worker}`,
  beat: (worker: string) => `berth.beat.${worker}`,
  beats: "berth.beat.*",
  hellos: "berth.hello.*",
  /** What a worker is told. */
  down: (worker: string) => `berth.down.${worker}`,
  /** Asked of nodes that may change workers' accounts. */
  accounts: (verb: string) => `berth.accounts.${verb}`,
  driver: (node: string, verb: string) => `berth.driver.${node}.${verb}`,
  /** Answered by one run of a node as long as its process lives. */
  pulse: (node: string, incarnation: string) => `berth.pulse.${node}.${incarnation}`,
  /** Operations on a node: `drain`, `actors`, `stats`. */
  node: (node: string, verb: string) => `berth.node.${node}.${verb}`,
  /** What gateways ask of the vault; a node that holds its keys answers. */
  vault: (verb: string) => `berth.vault.${verb}`,
  value: (bucket: Bucket, key: string) => `$KV.${BUCKETS[bucket]}.${key}`,
} as const;

/** The durable consumers of a partition: control has its own, so that no backlog of other mail is in its way. */
export const consumers = {
  control: (partition: number) => `control-${partition}`,
  mail: (partition: number) => `mail-${partition}`,
  due: (partition: number) => `due-${partition}`,
} as const;

/** The actor named by the last three tokens of an ask, up, record or journal subject. */
export function refOfSubject(subject: string): ActorRef {
  const [tenant = "", kind = "", key = ""] = subject.split(".").slice(-3);
  return { tenant, kind, key };
}

/** Takes `berth.mail.<p>.<tenant>.<kind>.<key>.<lane>` apart. */
export function parseMailSubject(subject: string): { ref: ActorRef; lane: MailLane } {
  const tokens = subject.split(".");
  return {
    ref: { tenant: tokens[3] ?? "", kind: tokens[4] ?? "", key: tokens[5] ?? "" },
    lane: (tokens[6] ?? "user") as MailLane,
  };
}

/** The worker that published an up subject: its second token after `berth.up`. */
export function workerOfUp(subject: string): string {
  return subject.split(".")[2] ?? "";
}
