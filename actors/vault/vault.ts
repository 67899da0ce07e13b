/**
 * The vault: users' provider keys, sealed in a bucket. Invariants:
 * C1 a value is in the clear in this process's memory alone, and only while it is sealed or handed to who asked.
 * C2 every write is a compare-and-set on what was read: a rotation never brings an old value back, and never loses one.
 * C3 an opening is recorded before the value is given out, and not given when it cannot be recorded; one of an attempt
 *    whose first was recorded a moment ago is counted (`openings.ts`).
 * C4 no write of a user's request begins after its deadline, however long the node stood still before it; one that meets
 *    another's write reads again (C2), and then asks for the time again.
 */
import {
  type CredentialFacts,
  type CredentialRecord,
  credentialRecordSchema,
  credentialValueSchema,
  letterBinding,
  MAX_CREDENTIALS,
  type VaultInput,
  type VaultOutput,
} from "../../protocols/credentials.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { CredentialRequest, CredentialSource } from "../../runtime/credential-source.ts";
import { openLetter } from "../../runtime/sealing/letter.ts";
import type { Buckets } from "../../runtime/transport.ts";
import type { KeyEncryptionKey } from "./key-encryption-key.ts";
import type { Keyring } from "./keyring.ts";
import { Openings, type OpeningsParts } from "./openings.ts";
import { type CredentialPlace, openValue, rewrap, sealValue } from "./seal-record.ts";

export interface VaultOptions extends OpeningsParts {
  readonly buckets: Buckets;
  /** Undefined: this node holds no keys, and opens nothing. */
  readonly keyring: Keyring | undefined;
}

interface Found {
  readonly record: CredentialRecord;
  readonly revision: number;
}

const BUCKET = "vault";
/** How long a value must be before its last characters are told. */
const HINT_FROM_CHARS = 20;
const HINT_CHARS = 4;
/** The time of the last use is not written more often. */
const USE_EVERY_MS = 60_000;
const ROTATED_AT_ONCE = 100;
/** A gateway waits 30 s for a step: what is left of them is for the credential that a step ends with. */
const ROTATE_STEP_MS = 10_000;
/** Tries of one write against other writers of the same credential. */
const TRIES = 10;

export class Vault implements CredentialSource {
  readonly #options: VaultOptions;
  readonly #openings: Openings;

  constructor(options: VaultOptions) {
    this.#options = options;
    this.#openings = new Openings(options);
  }

  async open(request: CredentialRequest): Promise<string | undefined> {
    const { tenant, user, provider } = request;
    const place = { tenant, user, provider };
    const found = await this.#find(place);
    if (found === undefined) return undefined;
    const value = await this.#value(place, found.record).catch(async (thrown: unknown) => {
      await this.#openings.record(request, asBerthError(thrown).code);
      throw thrown;
    });
    await this.#openings.record(request); // C3
    void this.#used(place, found).catch(() => {
      // Somebody else wrote it meanwhile: the next use is told again.
    });
    return value;
  }

  /** Records the openings that were counted and not recorded yet. */
  async close(): Promise<void> {
    await this.#openings.close();
  }

  /** Whether there is one, without opening it. */
  async has(place: CredentialPlace): Promise<boolean> {
    return (await this.#find(place)) !== undefined;
  }

  /** What values are sealed to on their way here. */
  async key(): Promise<VaultOutput<"key">> {
    const { id, letters } = await this.#keyring().current();
    return { kek: id, public_key: letters.publicKey };
  }

  async put(
    { letter, kek, ...place }: VaultInput<"put">,
    deadline = Number.POSITIVE_INFINITY,
  ): Promise<VaultOutput<"put">> {
    const value = await this.#read(place, kek, letter);
    const current = await this.#keyring().current();
    const written = await this.#change(place, async (found) => {
      if (found === undefined) await this.#checkRoom(place);
      this.#checkTime(deadline);
      const now = this.#options.clock.now();
      const version = (found?.record.version ?? 0) + 1;
      return {
        provider: place.provider,
        ...sealValue(current, place, version, Buffer.from(value, "utf8")),
        hint: value.length >= HINT_FROM_CHARS ? value.slice(-HINT_CHARS) : null,
        created_at: found?.record.created_at ?? now,
        updated_at: now,
        used_at: found?.record.used_at ?? null,
      };
    });
    this.#options.log.info({ ...place, version: written.version }, "a credential was stored");
    return { credential: factsOf(written), is_new: written.version === 1 };
  }

  async list({ tenant, user }: VaultInput<"list">): Promise<VaultOutput<"list">> {
    const entries = await this.#options.buckets.list(BUCKET, `${tenant}.${user}`);
    const records = entries.flatMap(({ value }) => (value ? [parse(value)] : []));
    return { credentials: records.map(factsOf) };
  }

  /** Rejects with `credential.not_found`. */
  async remove(
    place: CredentialPlace,
    deadline = Number.POSITIVE_INFINITY,
  ): Promise<VaultOutput<"remove">> {
    await this.#compete(async () => {
      const found = await this.#find(place);
      if (found === undefined) throw new BerthError("credential.not_found");
      this.#checkTime(deadline);
      const { revision: expected } = found;
      await this.#options.buckets.remove(BUCKET, keyOf(place), { expected });
    });
    this.#options.log.info(place, "a credential was removed");
    return {};
  }

  async status(): Promise<VaultOutput<"status">> {
    const { id: current } = await this.#keyring().current();
    const entries = await this.#options.buckets.list(BUCKET, "");
    const counts = new Map<string, number>();
    for (const { value } of entries) {
      if (!value) continue;
      const { kek } = parse(value);
      counts.set(kek, (counts.get(kek) ?? 0) + 1);
    }
    const own = this.#keyring().ids();
    const ids = [current, ...own.filter((id) => id !== current)];
    const keys = ids.map((id) => ({ id, credentials: counts.get(id) ?? 0 }));
    const readable = keys.reduce((sum, { credentials }) => sum + credentials, 0);
    const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
    return { keys, unreadable: all - readable };
  }

  /**
   * One step of a rotation, from the credential after `after` on; may be repeated, and resumed by anybody (C2). It ends
   * when its time is over, behind one credential at least.
   */
  async rotate({ after }: VaultInput<"rotate">): Promise<VaultOutput<"rotate">> {
    const { clock, buckets, log } = this.#options;
    const until = clock.monotonic() + ROTATE_STEP_MS;
    const { id: kek } = await this.#keyring().current();
    const all = await buckets.keys(BUCKET, ">");
    const left = after === null ? all : all.filter((key) => key > after);
    const counts = { rotated: 0, unchanged: 0, unreadable: 0 };
    const find = this.#findOnce();
    let done = 0;
    for (const key of left.slice(0, ROTATED_AT_ONCE)) {
      if (done > 0 && clock.monotonic() >= until) break;
      counts[await this.#rotateOne(placeOf(key), find)] += 1;
      done += 1;
    }
    log.info({ kek, ...counts }, "credentials were wrapped with the current key");
    return { kek, ...counts, next: left.length > done ? (left[done - 1] ?? null) : null };
  }

  /** Keys by their ids, each looked for once: the look for one that is not known takes a second. */
  #findOnce(): (id: string) => Promise<KeyEncryptionKey | undefined> {
    const looked = new Map<string, Promise<KeyEncryptionKey | undefined>>();
    return (id) => {
      const found = looked.get(id) ?? this.#keyring().find(id);
      looked.set(id, found);
      return found;
    };
  }

  async #rotateOne(
    place: CredentialPlace,
    find: (id: string) => Promise<KeyEncryptionKey | undefined>,
  ): Promise<"rotated" | "unchanged" | "unreadable"> {
    let outcome: "rotated" | "unchanged" | "unreadable" = "unchanged";
    await this.#change(place, async (found) => {
      const to = await this.#keyring().current();
      outcome = "unchanged";
      if (found === undefined || found.record.kek === to.id) return undefined;
      const from = await find(found.record.kek);
      const wrapped = from && rewrap(from, to, place, found.record);
      outcome = wrapped === undefined ? "unreadable" : "rotated";
      return wrapped && { ...found.record, ...wrapped };
    });
    return outcome;
  }

  async #read(place: CredentialPlace, kek: string, letter: string): Promise<string> {
    const key = await this.#keyring().find(kek);
    const binding = letterBinding({ ...place, kek });
    const content = key && openLetter(key.letters, letter, binding);
    if (content === undefined) throw new BerthError("credential.unreadable");
    const value = credentialValueSchema.safeParse(content.toString("utf8"));
    content.fill(0);
    if (value.success) return value.data;
    const reason = value.error.issues[0]?.message ?? "not valid";
    throw new BerthError("request.invalid", `value: ${reason}`, { field: "value" });
  }

  async #value(place: CredentialPlace, record: CredentialRecord): Promise<string> {
    const kek = await this.#keyring().find(record.kek);
    const content = kek && openValue(kek, place, record);
    if (content === undefined)
      throw new BerthError(
        "credential.unreadable",
        kek === undefined
          ? `the credential is sealed under the vault's key ${record.kek}, which is not here`
          : "the credential was changed in its bucket",
      );
    const value = content.toString("utf8");
    content.fill(0);
    return value;
  }

  async #used(place: CredentialPlace, { record, revision }: Found): Promise<void> {
    const now = this.#options.clock.now();
    if (record.used_at !== null && now - record.used_at < USE_EVERY_MS) return;
    await this.#write(place, { ...record, used_at: now }, revision);
  }

  async #checkRoom({ tenant, user }: CredentialPlace): Promise<void> {
    const held = await this.#options.buckets.keys(BUCKET, `${tenant}.${user}.*`);
    if (held.length >= MAX_CREDENTIALS)
      throw new BerthError("credential.too_many", `a user may store ${MAX_CREDENTIALS}`);
  }

  /** C4. Comes behind the read. */
  #checkTime(deadline: number): void {
    if (this.#options.clock.now() < deadline) return;
    throw new BerthError("vault.unavailable", "the request's time was over before it was written");
  }

  /** C2. What `decide` makes of the newest record is written; undefined changes nothing. */
  #change<T extends CredentialRecord | undefined>(
    place: CredentialPlace,
    decide: (found: Found | undefined) => Promise<T>,
  ): Promise<T> {
    return this.#compete(async () => {
      const found = await this.#find(place);
      const next = await decide(found);
      if (next !== undefined) await this.#write(place, next, found?.revision ?? 0);
      return next;
    });
  }

  /** Tries again, from the read on, when another writer was faster. */
  async #compete<T>(write: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await write();
      } catch (thrown) {
        const error = asBerthError(thrown);
        if (error.code !== "record.conflict" || tries >= TRIES) throw error;
      }
    }
  }

  async #find(place: CredentialPlace): Promise<Found | undefined> {
    const entry = await this.#options.buckets.get(BUCKET, keyOf(place));
    return entry?.value && { record: parse(entry.value), revision: entry.revision };
  }

  async #write(place: CredentialPlace, record: CredentialRecord, expected: number): Promise<void> {
    const value = new TextEncoder().encode(JSON.stringify(record));
    await this.#options.buckets.put(BUCKET, keyOf(place), value, { expected });
  }

  #keyring(): Keyring {
    if (this.#options.keyring !== undefined) return this.#options.keyring;
    throw new BerthError("vault.unavailable", "this node holds no keys of the vault");
  }
}

const keyOf = ({ tenant, user, provider }: CredentialPlace) => `${tenant}.${user}.${provider}`;

function placeOf(key: string): CredentialPlace {
  const [tenant = "", user = "", provider = ""] = key.split(".");
  return { tenant, user, provider };
}

function parse(value: Uint8Array): CredentialRecord {
  return credentialRecordSchema.parse(JSON.parse(new TextDecoder().decode(value)));
}

function factsOf(record: CredentialRecord): CredentialFacts {
  const { provider, hint, created_at, updated_at, used_at } = record;
  return { provider, hint, created_at, updated_at, used_at };
}
