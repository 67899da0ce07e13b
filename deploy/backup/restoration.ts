/**
 * Puts a backup into a broker that holds nothing of Berth. Invariants:
 * BR1 Nothing is restored beside what is there: neither over a stream, nor while a node lives.
 * BR2 A node that starts in between takes no partition: a hold is there before anything that it could act on.
 * BR3 What fails or is broken off is removed again: the broker is as empty as before.
 */
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { HOLD_KEY } from "../../protocols/records.ts";
import type { Clock } from "../../runtime/clock.ts";
import { Hold } from "../../runtime/hold.ts";
import type { Snapshots, StreamFacts } from "../../runtime/nats/snapshots.ts";
import { AccountRecords } from "../../runtime/nats-auth/account-records.ts";
import type { Buckets } from "../../runtime/transport.ts";
import { readChecked } from "./backup-folder.ts";
import type { Manifest, SavedStream } from "./manifest.ts";
import { ACCOUNTS, CLAIMS, decideRestoring, LEASES, OUR_PREFIXES } from "./order.ts";
import { verifyBackup } from "./verification.ts";

export interface RestorationParts {
  readonly buckets: Buckets;
  readonly snapshots: Snapshots;
  readonly clock: Clock;
  /** Of the nats-server. */
  readonly serverVersion: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface RestorationOptions {
  readonly folder: string;
  readonly replicas: number;
  /** Where streams are to lie; empty: wherever the server puts them. */
  readonly serverTags: readonly string[];
  /** Public keys of the issuer of these nodes, where it is here: another's workers are let in no more. */
  readonly issuers?: readonly string[] | undefined;
  /** Only this one, which must be missing, beside all others. */
  readonly stream?: string | undefined;
}

const TRIES = 40;
const LOADS = 3;
const PAUSE_MS = 250;

export async function restoreBackup(
  parts: RestorationParts,
  options: RestorationOptions,
): Promise<Manifest> {
  const { folder, stream } = options;
  const manifest = await verifyBackup(folder, { ...parts, say: () => undefined });
  requireServer(manifest, parts.serverVersion);
  const wanted = manifest.streams.filter(({ name }) => stream === undefined || name === stream);
  if (wanted.length === 0)
    throw new BerthError("backup.invalid", `the backup holds no stream ${stream}`);
  await requireRoom(parts, wanted, stream !== undefined);
  const work: Work = { options, wanted, made: [], hold: undefined };
  try {
    await restoreAll(parts, work);
  } catch (thrown) {
    // BR3. Claims go last, and the hold with them (BR2).
    for (const name of work.made.toReversed()) await parts.snapshots.remove(name);
    await work.hold?.abandon();
    throw thrown;
  }
  await work.hold?.release();
  return manifest;
}

interface Work {
  readonly options: RestorationOptions;
  readonly wanted: readonly SavedStream[];
  /** Names of streams that are there because of us. */
  readonly made: string[];
  hold: Hold | undefined;
}

async function restoreAll(parts: RestorationParts, work: Work): Promise<void> {
  const { made, options, wanted } = work;
  const { buckets, say, signal, snapshots } = parts;
  for (const name of decideRestoring(wanted.map((saved) => saved.name))) {
    const saved = wanted.find((one) => one.name === name);
    if (!saved) continue;
    signal.throwIfAborted();
    work.hold?.ended.throwIfAborted();
    const found = await load(parts, { options, saved }).catch((thrown: unknown) => {
      // It may be there though we never hear so.
      if (!isTaken(thrown)) made.push(name);
      throw thrown;
    });
    made.push(name);
    requireSame(saved, found);
    const { up_to: end = found.state.last_seq } = saved;
    if (found.state.last_seq > end)
      await snapshots.truncate(name, { after: end, last: found.state.last_seq, signal });
    say(
      `${name}: ${found.state.messages} messages${end < found.state.last_seq ? ` up to ${end}` : ""}`,
    );
    if (name === CLAIMS) {
      await clearHold(parts);
      work.hold = await Hold.place(parts, "berth backup restore"); // BR2
    }
  }
  const { issuers } = options;
  if (issuers && made.includes(ACCOUNTS)) await acceptOwn(buckets, issuers);
  work.hold?.ended.throwIfAborted();
}

/** The hold of the backup itself may be in it. A stream that is new to a cluster takes its first message a little later. */
async function clearHold({ buckets, clock, signal }: RestorationParts): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await buckets.remove("partitions", HOLD_KEY);
    } catch (thrown) {
      signal.throwIfAborted();
      if (asBerthError(thrown).code !== "broker.unavailable" || tries === TRIES) throw thrown;
      await clock.sleep(PAUSE_MS, signal);
    }
  }
}

/** A deployment that goes on with new keys would refuse its own workers. */
async function acceptOwn(buckets: Buckets, own: readonly string[]): Promise<void> {
  const records = new AccountRecords(buckets);
  const { record: accepted } = await records.issuers(() => own);
  if (!own.some((issuer) => accepted.includes(issuer))) await records.accept(own);
}

/** A cluster may lose a stream on the way, as when a leader steps down: what there is of it is removed, and it is sent once more. */
async function load(
  { clock, say, signal, snapshots }: RestorationParts,
  { options, saved }: { readonly options: RestorationOptions; readonly saved: SavedStream },
): Promise<StreamFacts> {
  const { folder, replicas, serverTags } = options;
  const { placement: _, ...rest } = saved.config;
  const placement = serverTags.length > 0 ? { placement: { tags: [...serverTags] } } : {};
  const config = { ...rest, ...placement, num_replicas: replicas };
  const facts = { name: saved.name, config, state: saved.state };
  for (let tries = 1; ; tries += 1) {
    try {
      return await snapshots.load(facts, { chunks: readChecked(folder, saved), signal });
    } catch (thrown) {
      if (isTaken(thrown)) {
        const message = `${saved.name} was made meanwhile: stop what did it, such as a node`;
        throw new BerthError("backup.not_empty", message, { cause: thrown });
      }
      signal.throwIfAborted();
      if (asBerthError(thrown).code !== "broker.unavailable" || tries === LOADS) throw thrown;
      say(`${saved.name}: ${asBerthError(thrown).message}; once more`);
      await snapshots.remove(saved.name);
      await clock.sleep(PAUSE_MS, signal);
    }
  }
}

const isTaken = (thrown: unknown) =>
  thrown instanceof BerthError && ["record.conflict", "backup.not_empty"].includes(thrown.code);

/** What the server made of the archive. Values with a TTL, and what is older than it is kept, may be gone. */
function requireSame({ name, state }: SavedStream, found: StreamFacts): void {
  const isSame = found.state.last_seq === state.last_seq && found.state.messages <= state.messages;
  if (isSame) return;
  const words = `${found.state.messages} messages up to ${found.state.last_seq}`;
  throw new BerthError("backup.invalid", `${name}: the server made ${words} of it`);
}

/** BR1. */
async function requireRoom(
  { buckets, snapshots }: RestorationParts,
  wanted: readonly SavedStream[],
  isSingle: boolean,
): Promise<void> {
  const there = await snapshots.list(OUR_PREFIXES);
  const leases = there.some(({ name }) => name === LEASES) ? await buckets.list("nodes", "") : [];
  if (leases.length > 0) {
    const nodes = leases.map(({ key }) => key).join(", ");
    throw new BerthError("backup.not_empty", `nodes run on this broker: ${nodes}. Stop them first`);
  }
  const names = new Set(wanted.map(({ name }) => name));
  const inTheWay = there.filter(({ name, state }) =>
    isSingle ? names.has(name) : name !== LEASES && state.messages > 0,
  );
  if (inTheWay.length > 0) {
    const words = inTheWay.map(({ name, state }) => `${name} (${state.messages})`).join(", ");
    throw new BerthError("backup.not_empty", `there is data of Berth already: ${words}`);
  }
  // What a node leaves that was started and stopped: it holds nothing.
  if (!isSingle) for (const { name } of there) await snapshots.remove(name);
}

function requireServer({ server_version: saved }: Manifest, version: string): void {
  if (!isOlder(version, saved)) return;
  throw new BerthError(
    "backup.invalid",
    `it was made on nats-server ${saved}, and this is ${version}: a server reads no newer archive`,
  );
}

/** By major and minor version. */
function isOlder(version: string, than: string): boolean {
  const [a, b] = [version, than].map((text) => text.split(".").map(Number));
  const [major = 0, minor = 0] = a ?? [];
  const [otherMajor = 0, otherMinor = 0] = b ?? [];
  return major < otherMajor || (major === otherMajor && minor < otherMinor);
}
