/**
 * Server-sent events that go on by themselves: a lost connection is made again after the last event.
 *
 * E1 The cursor moves only over events that the caller gets, so none is missing or doubled.
 * E2 A stream that brings no byte for `SILENCE_MS`, heartbeats included, is dead and is opened again.
 * E3 A gateway that stays away for the caller's patience ends the stream with its error.
 */
import { createParser, type EventSourceMessage } from "eventsource-parser";
import type { Problem } from "../../protocols/api.ts";
import { BerthError } from "../../protocols/errors.ts";
import { endsJob, type SessionEvent } from "../../protocols/events.ts";
import type { Clock } from "../../runtime/clock.ts";
import { backOff, type Http, problemError, unavailable } from "./http.ts";

/** The gateway sends at least a comment every 15 s. */
const SILENCE_MS = 45_000;

export interface FollowOptions {
  /** The seq of the last event had: the stream goes on after it. */
  readonly after?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** For operators: whose job or session it is, when they know. */
  readonly tenant?: string | undefined;
  /** Called when the connection was lost and is about to be made again. */
  readonly onRetry?: (error: BerthError) => void;
}

export interface Source {
  readonly http: Http;
  readonly clock: Clock;
  readonly patienceMs: number;
  /** `/v1/jobs/<id>/events`, which end with the job, or `/v1/sessions/<id>/events`, which go on. */
  readonly path: string;
}

/** Where one following stands, over its connections. */
interface Progress {
  cursor: number | undefined;
  /** Connections in a row that brought nothing. */
  failures: number;
  lostAt: number | undefined;
}

/** Nothing more comes on this stream. */
const OVER = Symbol("the stream is over");

export async function* followEvents(
  source: Source,
  options: FollowOptions = {},
): AsyncGenerator<SessionEvent, void> {
  const { clock, patienceMs } = source;
  const { signal } = options;
  const progress: Progress = { cursor: options.after, failures: 0, lostAt: undefined };
  for (;;) {
    const end = yield* connection(source, progress, options);
    if (end === OVER || signal?.aborted) return;
    progress.lostAt ??= clock.monotonic();
    const isLate = clock.monotonic() - progress.lostAt > patienceMs; // E3
    if (end && (end.retry === "never" || isLate)) throw end;
    if (end) options.onRetry?.(end);
    await backOff(clock, progress.failures, end, signal);
    progress.failures += 1;
  }
}

/** Yields from one connection; returns why it ended: `OVER`, an error, or undefined for a restart. */
async function* connection(
  source: Source,
  progress: Progress,
  options: FollowOptions,
): AsyncGenerator<SessionEvent, BerthError | typeof OVER | undefined> {
  const isJob = source.path.startsWith("/v1/jobs/");
  const stream = read(source, progress, options);
  try {
    for (;;) {
      const next = await stream.next();
      if (next.done) return next.value;
      const event = next.value;
      if (progress.cursor !== undefined && event.seq <= progress.cursor) continue;
      progress.cursor = event.seq; // E1
      progress.failures = 0;
      yield event;
      if (isJob && endsJob(event)) return OVER;
    }
  } catch (thrown) {
    return options.signal?.aborted ? OVER : unavailable("the stream of events was lost", thrown);
  } finally {
    await stream.return(undefined);
  }
}

/** One connection's events; returns `OVER` when the gateway says that nothing more comes. */
async function* read(
  { clock, http, path }: Source,
  progress: Progress,
  { signal, tenant }: FollowOptions,
): AsyncGenerator<SessionEvent, typeof OVER | undefined> {
  const { cursor } = progress;
  const silence = new AbortController();
  const headers: Record<string, string> = { accept: "text/event-stream" };
  if (cursor !== undefined) headers["last-event-id"] = String(cursor);
  const answer = await http({
    path,
    query: { tenant },
    headers,
    signal: signal ? AbortSignal.any([signal, silence.signal]) : silence.signal,
  });
  if (answer.status === 204 || !answer.body) return OVER;
  progress.lostAt = undefined;
  const messages: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (message) => messages.push(message) });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const chunk = await within(clock, reader.read(), silence);
      if (chunk.done) return undefined;
      parser.feed(chunk.value);
      for (const { event, data } of messages.splice(0)) {
        if (event === "error") throw problemError(JSON.parse(data) as Problem);
        yield JSON.parse(data) as SessionEvent;
      }
    }
  } finally {
    silence.abort();
    await reader.cancel().catch(() => undefined);
  }
}

/** `work`, unless nothing at all comes for so long that the connection must be dead (E2). */
async function within<T>(clock: Clock, work: Promise<T>, silence: AbortController): Promise<T> {
  const done = new AbortController();
  void clock.sleep(SILENCE_MS, done.signal).then(() => {
    if (!done.signal.aborted) {
      silence.abort(new BerthError("gateway.unavailable", "the stream fell silent"));
    }
  });
  try {
    return await work;
  } finally {
    done.abort();
  }
}
