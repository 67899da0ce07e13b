/**
 * Makes a backup of all that Berth keeps in the broker (docs/adr/0020). Invariants:
 * BC1 Records, mail, reminders and the buckets that follow from them are saved while nobody owns a partition; that nobody
 *     did is looked up before and after, not believed. The journal, which only grows, is saved afterwards with the place of the cut.
 * BC2 What fails, is broken off or was not quiet leaves no backup and no hold.
 */
import { BerthError } from "../../protocols/errors.ts";
import { HOLD_KEY } from "../../protocols/records.ts";
import type { Clock } from "../../runtime/clock.ts";
import { Hold, quiet } from "../../runtime/hold.ts";
import type { Snapshots } from "../../runtime/nats/snapshots.ts";
import type { Buckets } from "../../runtime/transport.ts";
import { BackupDraft } from "./backup-folder.ts";
import { FORMAT, type Manifest, type SavedStream } from "./manifest.ts";
import { CUT_OFF, decideSaving, OUR_PREFIXES, STILL_STREAMS } from "./order.ts";

export interface CreationParts {
  readonly buckets: Buckets;
  readonly snapshots: Snapshots;
  readonly clock: Clock;
  readonly versions: Pick<Manifest, "berth_version" | "server_version">;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface CreationOptions {
  readonly folder: string;
  /** Longest time for which actors may stand still. */
  readonly maxHoldMs: number;
  /** Keys, sealed already. */
  readonly keys?: Uint8Array | undefined;
}

/** From the hold to the last node's word that it owns nothing. */
const QUIET_MS = 30_000;

/** Resolves with the folder and what is in it. */
export async function createBackup(
  parts: CreationParts,
  { folder, keys, maxHoldMs }: CreationOptions,
): Promise<{ readonly folder: string; readonly manifest: Manifest }> {
  const draft = await BackupDraft.open(folder);
  try {
    const names = (await parts.snapshots.list(OUR_PREFIXES)).map(({ name }) => name);
    const order = decideSaving(names);
    const cut = await takeCut(parts, { draft, names: order.still, maxHoldMs });
    const later = await saveAll(parts, { draft, names: order.after, ends: cut.ends });
    const manifest: Manifest = {
      format: FORMAT,
      ...parts.versions,
      quiet_from: cut.from,
      quiet_until: cut.until,
      streams: [...cut.streams, ...later],
      ...(keys === undefined ? {} : { keys: await saveKeys(draft, keys) }),
    };
    parts.signal.throwIfAborted();
    return { folder: await draft.finish(manifest), manifest };
  } catch (thrown) {
    await draft.discard(); // BC2
    throw thrown;
  }
}

interface Saving {
  readonly draft: BackupDraft;
  readonly names: readonly string[];
  /** Of streams that are saved after the cut: their last sequences at the cut. */
  readonly ends?: ReadonlyMap<string, number>;
}

interface Cut {
  readonly from: string;
  readonly until: string;
  readonly streams: SavedStream[];
  readonly ends: ReadonlyMap<string, number>;
}

/** BC1. */
async function takeCut(
  parts: CreationParts,
  { maxHoldMs, ...saving }: Saving & { readonly maxHoldMs: number },
): Promise<Cut> {
  const { clock, say } = parts;
  const hold = await Hold.place(parts, "berth backup");
  const late = new AbortController();
  const stopTimer = clock.after(maxHoldMs, () => {
    const message = `it takes longer than ${maxHoldMs} ms: give more with --max-hold`;
    late.abort(new BerthError("backup.not_quiet", message));
  });
  const signal = AbortSignal.any([parts.signal, late.signal, hold.ended]);
  try {
    await quiet(parts, { withinMs: QUIET_MS, signal });
    const from = new Date(clock.now()).toISOString();
    say("nobody owns a partition: saving");
    const before = await stillness(parts);
    const streams = await saveAll({ ...parts, signal }, saving);
    const after = await stillness(parts);
    signal.throwIfAborted();
    if (before.text !== after.text) {
      throw new BerthError("backup.not_quiet", "a node wrote although nobody owned a partition");
    }
    return { from, until: new Date(clock.now()).toISOString(), streams, ends: before.ends };
  } finally {
    stopTimer();
    await hold.release();
    say("actors go on");
  }
}

/** Of claims and records: equal texts say that nobody claimed or committed in between. */
async function stillness({ buckets, snapshots }: CreationParts): Promise<{
  readonly text: string;
  readonly ends: ReadonlyMap<string, number>;
}> {
  const claims = await buckets.list("partitions", "");
  const found = await Promise.all(
    STILL_STREAMS.map(async (name) => {
      const facts = await snapshots.find(name);
      return [name, facts?.state.last_seq ?? 0] as const;
    }),
  );
  const owned = claims.filter(({ key }) => key !== HOLD_KEY);
  const text = JSON.stringify([owned.map(({ key, revision }) => [key, revision]), found]);
  return { text, ends: new Map(found) };
}

async function saveAll(
  parts: CreationParts,
  { draft, ends, names }: Saving,
): Promise<SavedStream[]> {
  const saved: SavedStream[] = [];
  for (const name of names) {
    const end = name === CUT_OFF ? ends?.get(name) : undefined;
    const stream = await save(parts, draft, name);
    saved.push(end === undefined ? stream : { ...stream, up_to: end });
  }
  return saved;
}

async function save(
  { say, signal, snapshots }: CreationParts,
  draft: BackupDraft,
  name: string,
): Promise<SavedStream> {
  const sink = await draft.file(`${name}.s2`);
  try {
    const { config, state } = await snapshots.save(name, {
      signal,
      take: (chunk) => sink.take(chunk),
    });
    const facts = await sink.end();
    say(`${name}: ${state.messages} messages`);
    return { name, ...facts, config: { ...config }, state };
  } catch (thrown) {
    await sink.giveUp();
    throw thrown;
  }
}

async function saveKeys(
  draft: BackupDraft,
  keys: Uint8Array,
): Promise<NonNullable<Manifest["keys"]>> {
  const sink = await draft.file("keys.sealed");
  await sink.take(keys);
  return await sink.end();
}
