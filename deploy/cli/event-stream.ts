/**
 * Server-sent events that go on by themselves: a lost connection is made again after the last event.
 *
 * E1 The cursor moves only over events that the caller got, so none is missing or doubled.
 * E2 A stream that brings no byte for `SILENCE_MS`, heartbeats included, is dead and is opened again.
 * E3 A gateway that stays away for `PATIENCE_MS` ends the stream with its error.
 */
import { EventSourceParserStream } from "eventsource-parser/stream";
import { problemSchema } from "../../protocols/api.ts";
import { BerthError } from "../../protocols/errors.ts";
import { eventSchema, type SessionEvent } from "../../protocols/events.ts";
import type { Clock } from "../../runtime/clock.ts";
import { type Http, isTransient, type Query } from "./http.ts";

export interface EventsOptions {
  /** Without it the stream begins at the gateway's choice: a job's start, a session's newest event. */
  readonly after?: number | undefined;
  readonly query?: Query | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called when the connection was lost and is about to be made again. */
  readonly onRetry?: (error: BerthError) => void;
}

const PATIENCE_MS = 120_000;
const SILENCE_MS = 60_000;
const PAUSE_MS = 500;
const NEVER = new AbortController().signal;

interface Source {
  readonly http: Http;
  readonly clock: Clock;
  readonly path: string;
}

export async function* readEvents(
  source: Source,
  options: EventsOptions,
): AsyncGenerator<SessionEvent, void> {
  const { clock } = source;
  const signal = options.signal ?? NEVER;
  const position = { after: options.after, lastGood: clock.monotonic() };
  for (;;) {
    try {
      const connection = connect(source, { ...options, after: position.after, signal });
      const how = yield* noted(connection, (event) => {
        if (event.type !== "session.gap") position.after = event.seq; // E1
        position.lastGood = clock.monotonic();
      });
      if (how === "over") return;
    } catch (error) {
      if (signal.aborted) return;
      const tooLong = clock.monotonic() - position.lastGood > PATIENCE_MS; // E3
      if (tooLong || !isTransient(error)) throw error;
      options.onRetry?.(error);
    }
    if (signal.aborted) return;
    await clock.sleep(PAUSE_MS, signal);
  }
}

/** Passes events on, and notes each before its reader gets it. */
async function* noted<R>(
  events: AsyncGenerator<SessionEvent, R>,
  note: (event: SessionEvent) => void,
): AsyncGenerator<SessionEvent, R> {
  try {
    for (;;) {
      const next = await events.next();
      if (next.done === true) return next.value;
      note(next.value);
      yield next.value;
    }
  } finally {
    await events.return(undefined as R);
  }
}

/** One connection; returns `over` when the gateway says that nothing can follow. */
async function* connect(
  { http, clock, path }: Source,
  { after, query, signal }: EventsOptions & { readonly signal: AbortSignal },
): AsyncGenerator<SessionEvent, "over" | "ended"> {
  const silence = new AbortController();
  let stopTimer = () => {};
  const alive = () => {
    stopTimer();
    stopTimer = clock.after(SILENCE_MS, () => silence.abort()); // E2
  };
  alive();
  try {
    const response = await http({
      path,
      query: { ...query, after },
      headers: { Accept: "text/event-stream" },
      signal: AbortSignal.any([signal, silence.signal]),
    });
    if (response.status === 204 || response.body === null) return "over";
    const messages = response.body
      .pipeThrough(watch(alive))
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream());
    for await (const { event, data } of messages) {
      if (event === "error") throw streamError(data);
      const parsed = eventSchema.safeParse(tryJson(data));
      if (parsed.success) yield parsed.data;
    }
    return "ended";
  } catch (error) {
    if (error instanceof BerthError) throw error;
    throw new BerthError("broker.unavailable", "the stream of events was lost", { cause: error });
  } finally {
    stopTimer();
    silence.abort();
  }
}

/** Lets bytes through and says that some came. */
function watch(onBytes: () => void): TransformStream<Uint8Array, Uint8Array> {
  return new TransformStream({
    transform(chunk, controller) {
      onBytes();
      controller.enqueue(chunk);
    },
  });
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function streamError(text: string): BerthError {
  const problem = problemSchema.partial().safeParse(tryJson(text)).data;
  return new BerthError(
    problem?.code ?? "broker.unavailable",
    problem?.detail ?? "the gateway ended the stream with an error",
  );
}
