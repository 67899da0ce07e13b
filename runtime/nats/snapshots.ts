/**
 * Whole streams, out of the broker and into it again, as the server's own archives: with their sequences, times and gaps, which
 * records and cursors refer to. Consumers are not in them: nodes make theirs.
 *
 * Invariants:
 * SN1 A chunk is acknowledged when it is taken: the server sends no more than its window ahead.
 * SN2 Each wait is bounded: a server that dies on the way ends the copy with `broker.unavailable`.
 * SN3 A stream appears when the server has taken all of it, or not at all.
 */
import {
  type JetStreamManager,
  jetstreamManager,
  type MsgRequest,
  type StreamConfig,
  type StreamState,
} from "@nats-io/jetstream";
import { createInbox, type Msg, type NatsConnection, RequestError } from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";
import { NODE_INBOX } from "../isolation/nats-permissions.ts";
import { fromNats, isNotFound } from "./errors.ts";

/** As the server tells it; passed on as it is. */
export interface StreamFacts {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly first_seq: number;
    readonly last_seq: number;
  };
}

export interface Snapshots {
  /** Of streams whose name begins so. */
  list(prefixes: readonly string[]): Promise<StreamFacts[]>;
  /** Undefined: there is none. */
  find(stream: string): Promise<StreamFacts | undefined>;
  /** Hands each chunk to `take`, in order, and resolves with what it was a copy of. */
  save(
    stream: string,
    options: { readonly take: (chunk: Uint8Array) => Promise<void>; readonly signal: AbortSignal },
  ): Promise<StreamFacts>;
  /** Makes a stream from its chunks (SN3). Rejects with `record.conflict` when there is one of that name. */
  load(
    facts: StreamFacts,
    options: { readonly chunks: AsyncIterable<Uint8Array>; readonly signal: AbortSignal },
  ): Promise<StreamFacts>;
  /** Takes off what is behind a sequence; its number is not used again. */
  truncate(
    stream: string,
    range: { readonly after: number; readonly last: number; readonly signal: AbortSignal },
  ): Promise<void>;
  remove(stream: string): Promise<void>;
}

const ANSWER_MS = 10_000;
/** Longest silence of a server that sends or takes (SN2): an election and a slow disk fit in. */
const SILENCE_MS = 30_000;
/** What the server does with a large stream after its last chunk. */
const FINISH_MS = 600_000;
const CHUNK_BYTES = 512 * 1024;
/** Servers of a cluster elect who takes the stream before they answer; once in a while, just after their start, nobody ever does. */
const BEGIN_MS = 10_000;
const READY_TRIES = 40;
const READY_PAUSE_MS = 250;
/** Messages that are taken off at once. */
const AT_ONCE = 64;
const NAME_IN_USE = 10_130;

interface ApiAnswer {
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

export function natsSnapshots(connection: NatsConnection, clock: Clock): Snapshots {
  const request = (subject: string, body: unknown, timeout: number): Promise<Msg> => {
    const data = body instanceof Uint8Array ? body : JSON.stringify(body);
    return connection.request(subject, data, { timeout }).catch((thrown: unknown) => {
      throw fromNats(thrown);
    });
  };
  const ask = async (subject: string, body: unknown, timeout = ANSWER_MS): Promise<unknown> =>
    checked(await request(subject, body, timeout));
  return {
    async list(prefixes) {
      const jsm = await manager(connection);
      const found: StreamFacts[] = [];
      for await (const { config, state } of jsm.streams.list()) {
        if (prefixes.some((prefix) => config.name.startsWith(prefix)))
          found.push(facts(config, state));
      }
      return found;
    },
    async find(stream) {
      const jsm = await manager(connection);
      try {
        const { config, state } = await jsm.streams.info(stream);
        return facts(config, state);
      } catch (thrown) {
        if (isNotFound(thrown)) return undefined;
        throw fromNats(thrown);
      }
    },
    async save(stream, { signal, take }) {
      const inbox = createInbox(NODE_INBOX);
      const subscription = connection.subscribe(inbox);
      try {
        const wish = { deliver_subject: inbox, no_consumers: true, chunk_size: CHUNK_BYTES };
        const answer = await ask(`$JS.API.STREAM.SNAPSHOT.${stream}`, wish);
        const { config, state } = answer as Answered;
        const chunks = subscription[Symbol.asyncIterator]();
        for (;;) {
          const chunk = await within(clock, { ms: SILENCE_MS, signal }, chunks.next());
          if (chunk.done === true) throw lost(stream);
          if (chunk.value.data.length === 0) {
            requireWhole(stream, chunk.value);
            return facts(config, state);
          }
          await take(chunk.value.data);
          chunk.value.respond(); // SN1
        }
      } finally {
        subscription.unsubscribe();
      }
    },
    async load({ config, name, state }, { chunks, signal }) {
      const begin = () => request(`$JS.API.STREAM.RESTORE.${name}`, { config, state }, BEGIN_MS);
      const answer = await untilTaken(clock, signal, begin);
      const { deliver_subject: to } = answer as { readonly deliver_subject: string };
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        checked(
          await untilHeard(clock, () => connection.request(to, chunk, { timeout: SILENCE_MS })),
        );
      }
      const made = (await ask(to, new Uint8Array(), FINISH_MS)) as Answered;
      return facts(made.config, made.state);
    },
    async truncate(stream, { after, last, signal }) {
      const jsm = await manager(connection);
      // One that is not there, or not any more, is refused with a code for every failure: what is left is looked up.
      const drop = (seq: number) =>
        jsm.streams.deleteMessage(stream, seq, false).catch(() => false);
      for (let from = after + 1; from <= last; from += AT_ONCE) {
        signal.throwIfAborted();
        const count = Math.min(AT_ONCE, last - from + 1);
        await Promise.all(Array.from({ length: count }, (_, n) => drop(from + n)));
      }
      const left = await next(jsm, stream, after + 1);
      if (left === undefined) return;
      throw new BerthError("broker.unavailable", `${stream}: message ${left} could not be removed`);
    },
    async remove(stream) {
      const jsm = await manager(connection);
      await jsm.streams.delete(stream).catch((thrown: unknown) => {
        if (!isNotFound(thrown)) throw fromNats(thrown);
      });
    },
  };
}

/**
 * Servers that have just started know no place for a stream yet, and say so: nothing has begun then. Who does not answer may have begun,
 * and is not asked again.
 */
async function untilTaken(
  clock: Clock,
  signal: AbortSignal,
  ask: () => Promise<Msg>,
): Promise<unknown> {
  for (let tries = 1; ; tries += 1) {
    const answer = await ask();
    try {
      return checked(answer);
    } catch (thrown) {
      signal.throwIfAborted();
      const isPassing = thrown instanceof BerthError && thrown.code === "broker.unavailable";
      if (!isPassing || tries === READY_TRIES) throw thrown;
      await clock.sleep(READY_PAUSE_MS, signal);
    }
  }
}

/** That a server listens for the chunks is told to the others: ours may hear it later than we heard its answer. */
async function untilHeard(clock: Clock, send: () => Promise<Msg>): Promise<Msg> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await send();
    } catch (thrown) {
      const isUnheard = thrown instanceof RequestError && thrown.isNoResponders();
      if (!isUnheard || tries === READY_TRIES) throw fromNats(thrown);
      await clock.sleep(READY_PAUSE_MS);
    }
  }
}

interface Answered {
  readonly config: StreamConfig;
  readonly state: StreamState;
}

/** The first sequence from one on that is there. */
async function next(
  jsm: JetStreamManager,
  stream: string,
  seq: number,
): Promise<number | undefined> {
  try {
    // The server takes this of its leader, too; the client's type knows it of direct reads alone.
    const query = { seq, next_by_subj: ">" } as MsgRequest;
    return (await jsm.streams.getMessage(stream, query))?.seq;
  } catch (thrown) {
    if (isNotFound(thrown)) return undefined;
    throw fromNats(thrown);
  }
}

async function manager(connection: NatsConnection) {
  return await jetstreamManager(connection, { timeout: ANSWER_MS }).catch((thrown: unknown) => {
    throw fromNats(thrown);
  });
}

function facts(config: StreamConfig, state: StreamState): StreamFacts {
  const { bytes, first_seq, last_seq, messages } = state;
  return {
    name: config.name,
    config: { ...config },
    // All that the server told: it wants it again.
    state: { ...state, ...{ bytes, first_seq, last_seq, messages } },
  };
}

/** A chunk that was taken is answered by nothing. */
function checked(answer: Msg): unknown {
  if (answer.data.length === 0) return undefined;
  const text = answer.string();
  if (!text.startsWith("{")) throw new BerthError("broker.unavailable", `the broker says ${text}`);
  const value = JSON.parse(text) as ApiAnswer;
  const { error } = value;
  if (error === undefined) return value;
  const reason = error.description ?? "it gives no reason";
  if (error.err_code === NAME_IN_USE) throw new BerthError("record.conflict", reason);
  throw new BerthError("broker.unavailable", `the broker refuses: ${reason}`);
}

/** The last message has a status where the server could not go on. */
function requireWhole(stream: string, { headers }: Msg): void {
  if (headers === undefined || headers.code === 0 || headers.code < 300) return;
  throw new BerthError("broker.unavailable", `${stream}: ${headers.code} ${headers.description}`);
}

const lost = (what: string) =>
  new BerthError("broker.unavailable", `the broker went silent within ${what}`);

async function within<T>(
  clock: Clock,
  { ms, signal }: { readonly ms: number; readonly signal: AbortSignal },
  work: Promise<T>,
): Promise<T> {
  const timer = new AbortController();
  const silence = clock.sleep(ms, AbortSignal.any([timer.signal, signal])).then(() => undefined);
  try {
    const first = await Promise.race([work.then((value) => ({ value })), silence]);
    signal.throwIfAborted();
    if (first === undefined) throw lost("a stream");
    return first.value;
  } finally {
    timer.abort();
  }
}
