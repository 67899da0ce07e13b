/** A connection that a test cuts and mends: what the real client does then, on the memory broker. */
import { BerthError } from "../../protocols/errors.ts";
import type { KeyEntry, MailStream, Serving, Transport, Watch } from "../../runtime/transport.ts";

export interface SeverableTransport extends Transport {
  /** Takes subscriptions and mail streams away; calls are refused until `mend`. */
  cut(): void;
  /** Subscribes again, tells watchers what they missed, then calls those who wait for a reconnect. */
  mend(): Promise<void>;
}

interface Followed {
  /** Asked for by its user. */
  readonly open: () => Promise<void>;
  readonly close: () => void;
}

export function severable(inner: Transport): SeverableTransport {
  const followed = new Set<Followed>();
  const streams = new Set<MailStream>();
  const reconnected = new Set<() => void>();
  let isUp = true;
  const guard = <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async function guarded(...args: A): Promise<R> {
      if (!isUp) throw new BerthError("broker.unavailable", "the connection is cut");
      const result = await call(...args);
      if (!isUp) throw new BerthError("broker.unavailable", "the connection was cut");
      return result;
    };
  const { buckets, bus, mailboxes, records } = inner;

  async function watch(...[bucket, onEntry]: Parameters<typeof buckets.watch>): Promise<Watch> {
    const present = new Map<string, number>();
    const tell = (entry: KeyEntry) => {
      if (!isUp) return;
      if (entry.value === undefined) present.delete(entry.key);
      else present.set(entry.key, entry.revision);
      onEntry(entry);
    };
    let open: Watch | undefined;
    const item: Followed = {
      async open() {
        const entries = await buckets.list(bucket, "");
        const keys = new Set(entries.map(({ key }) => key));
        const gone = [...present].filter(([key]) => !keys.has(key));
        for (const [key, revision] of gone) tell({ key, revision, value: undefined });
        open = await buckets.watch(bucket, tell);
      },
      close: () => void open?.close(),
    };
    await item.open();
    followed.add(item);
    return {
      async close() {
        followed.delete(item);
        await open?.close();
      },
    };
  }

  function serve(...call: Parameters<typeof bus.serve>): Serving {
    let open: Serving | undefined = isUp ? bus.serve(...call) : undefined;
    const item: Followed = {
      open() {
        open = bus.serve(...call);
        return Promise.resolve();
      },
      close: () => void open?.close(),
    };
    followed.add(item);
    return {
      ready: Promise.resolve(),
      async close() {
        followed.delete(item);
        await open?.close();
      },
    };
  }

  /** The port with these calls refused while the connection is cut. */
  const refusing = <T extends object>(port: T, names: readonly (keyof T)[]): T => {
    const made = names.map((name) => {
      const call = port[name] as (...args: unknown[]) => Promise<unknown>;
      return [name, guard((...args: unknown[]) => call(...args))];
    });
    return { ...port, ...Object.fromEntries(made) } as T;
  };
  const boxes = refusing(mailboxes, ["send", "read", "schedule", "unschedule", "deadLetter"]);

  return {
    ...inner,
    records: refusing(records, ["load", "commit", "journal"]),
    mailboxes: {
      ...boxes,
      open: guard(async (partition) => {
        const stream = await mailboxes.open(partition);
        streams.add(stream);
        return stream;
      }),
    },
    buckets: {
      ...refusing(buckets, ["get", "put", "remove", "list", "keys"]),
      watch: guard(watch),
    },
    bus: { ...refusing(bus, ["request"]), serve },
    onReconnect(fn) {
      reconnected.add(fn);
      return () => reconnected.delete(fn);
    },
    cut() {
      if (!isUp) return;
      isUp = false;
      for (const item of followed) item.close();
      for (const stream of streams) void stream.close();
      streams.clear();
    },
    async mend() {
      if (isUp) return;
      isUp = true;
      // What begins meanwhile opens by itself, and what ends is not opened again.
      for (const item of [...followed]) if (followed.has(item)) await item.open();
      for (const listener of reconnected) listener();
    },
  };
}
