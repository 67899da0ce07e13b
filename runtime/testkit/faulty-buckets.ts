/** Buckets over a link that has faults. After a break a watch reads the bucket anew, as the real one does. */
import { BerthError } from "../../protocols/errors.ts";
import type { Bucket } from "../../protocols/subjects.ts";
import type { Buckets, KeyEntry, Watch } from "../transport.ts";
import type { Link } from "./link.ts";

const TIMEOUT_MS = 3_000;
const API_TIMEOUT_MS = 5_000;
const REREAD_PAUSE_MS = 200;

export function faultyBuckets(link: Link, inner: Buckets): Buckets {
  const read = <T>(what: string, subject: string, work: () => Promise<T>) =>
    link.call({ what: `buckets.${what}`, subject }, API_TIMEOUT_MS, work);
  const write = <T>(
    what: string,
    bucket: string,
    key: string,
    ms: number,
    work: () => Promise<T>,
  ) => link.call({ what: `buckets.${what}`, subject: `${bucket}.${key}`, lane: bucket }, ms, work);
  const list: Buckets["list"] = (bucket, prefix) =>
    read("list", bucket, () => inner.list(bucket, prefix));
  return {
    get: (bucket, key) => read("get", `${bucket}.${key}`, () => inner.get(bucket, key)),
    put: (bucket, key, value, options = {}) =>
      write("put", bucket, key, options.timeoutMs ?? TIMEOUT_MS, () =>
        inner.put(bucket, key, value, options),
      ),
    remove: (bucket, key, options = {}) =>
      write("remove", bucket, key, TIMEOUT_MS, () => inner.remove(bucket, key, options)),
    list,
    keys: (bucket, pattern) => read("keys", bucket, () => inner.keys(bucket, pattern)),
    watch: (bucket, onEntry) => FaultyWatch.open({ link, inner, list }, bucket, onEntry),
  };
}

interface Collaborators {
  readonly link: Link;
  readonly inner: Buckets;
  readonly list: Buckets["list"];
}

class FaultyWatch implements Watch {
  readonly #parts: Collaborators;
  readonly #bucket: Bucket;
  readonly #onEntry: (entry: KeyEntry) => void;
  /** Revisions told, by key; only of keys that are there. */
  readonly #present = new Map<string, number>();
  #isClosed = false;
  #atBroker: Watch | undefined;
  #offBack: () => void = () => {};

  private constructor(parts: Collaborators, bucket: Bucket, onEntry: (entry: KeyEntry) => void) {
    this.#parts = parts;
    this.#bucket = bucket;
    this.#onEntry = onEntry;
  }

  static async open(
    parts: Collaborators,
    bucket: Bucket,
    onEntry: (entry: KeyEntry) => void,
  ): Promise<Watch> {
    const watch = new FaultyWatch(parts, bucket, onEntry);
    const cargo = { what: "buckets.watch", subject: bucket, lane: `watch ${bucket}` };
    const present = await parts.link.call(cargo, API_TIMEOUT_MS, () => watch.#begin());
    for (const entry of present) watch.#tell(entry);
    watch.#offBack = parts.link.onBack(() => void watch.#reread());
    return watch;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#offBack();
    const cargo = { what: "buckets.unwatch", subject: this.#bucket };
    this.#parts.link.send(cargo, () => void this.#atBroker?.close());
    return Promise.resolve();
  }

  /** At the broker. */
  async #begin(): Promise<KeyEntry[]> {
    const { inner, link } = this.#parts;
    const present: KeyEntry[] = [];
    let isBegun = false;
    this.#atBroker = await inner.watch(this.#bucket, (entry) => {
      if (!isBegun) present.push(entry);
      else {
        const subject = `${this.#bucket}.${entry.key}`;
        const cargo = { what: "buckets.change", subject, lane: `watch ${this.#bucket}` };
        link.deliver(cargo, () => this.#tell(entry));
      }
    });
    isBegun = true;
    link.process.onEnd(() => void this.#atBroker?.close());
    return present;
  }

  async #reread(): Promise<void> {
    const { link, list } = this.#parts;
    while (!this.#isClosed) {
      try {
        const entries = await list(this.#bucket, "");
        const keys = new Set(entries.map(({ key }) => key));
        const gone = [...this.#present].filter(([key]) => !keys.has(key));
        for (const [key, revision] of gone) this.#tell({ key, revision, value: undefined });
        for (const entry of entries) this.#tell(entry);
        return;
      } catch (thrown) {
        if (!(thrown instanceof BerthError)) throw thrown;
        await link.process.clock().sleep(REREAD_PAUSE_MS);
      }
    }
  }

  /** What is found missing is told with the revision that it had. */
  #tell(entry: KeyEntry): void {
    const told = this.#present.get(entry.key) ?? 0;
    const isNews =
      entry.value === undefined ? told > 0 && told <= entry.revision : told < entry.revision;
    if (!isNews || this.#isClosed) return;
    if (entry.value === undefined) this.#present.delete(entry.key);
    else this.#present.set(entry.key, entry.revision);
    this.#onEntry(entry);
  }
}
