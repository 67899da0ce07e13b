/**
 * Server-sent events (WHATWG HTML, section 9.2). Only persisted events carry an id, so that a client never
 * resumes from something that is not in the log.
 */
import type { Socket } from "node:net";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { BerthError } from "../protocols/errors.ts";
import { BerthError as Failure } from "../protocols/errors.ts";
import { endsJob, type SessionEvent } from "../protocols/events.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { Tier } from "../protocols/tiers.ts";
import type { Principal } from "./auth/principal.ts";
import { toProblem } from "./problem.ts";
import type { EncodedEvent } from "./reader/encoded-event.ts";
import { Outlet } from "./reader/outlet.ts";
import { SessionReader } from "./reader/session-reader.ts";
import type { Services } from "./services.ts";

const RETRY_MS = 1_000;
/** The part of a session's log that a stream shows. */
export interface StreamView {
  readonly ref: ActorRef;
  readonly after: number;
  /** Only this job's events, and no more after its last one. */
  readonly jobId?: string;
  /** The stream ends when this seq has passed: the job is over, its last event is at or before it. */
  readonly until?: number;
}

/** Whether the stream shows the event, and whether it ends after it. Pure. */
export function decideShow(
  view: Pick<StreamView, "jobId" | "until">,
  event: Pick<SessionEvent, "seq" | "type" | "job_id" | "data">,
): { readonly show: boolean; readonly end: boolean } {
  const past = view.until !== undefined && event.seq >= view.until;
  if (view.jobId === undefined) return { show: true, end: past };
  if (event.type === "session.gap") return { show: true, end: past };
  const show = event.job_id === view.jobId;
  return { show, end: past || (show && endsJob(event)) };
}

/** Throws `request.rate_limited` when the caller has as many streams as it may. Takes the reply over and streams until the client leaves, the view ends, or the gateway drains. */
export function streamEvents(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  { principal, tier }: { readonly principal: Principal; readonly tier: Tier | undefined },
  view: StreamView,
): void {
  // Who left while this was prepared has been told of already: nothing would ever end the stream.
  if (reply.raw.destroyed || request.raw.socket.destroyed) {
    reply.hijack();
    return;
  }
  const closed = services.streamBounds.open(principal, tier);
  const headers = reply.getHeaders();
  reply.hijack();
  const stream = new EventStream(services, request, reply, view);
  stream.start(headers, principal, closed);
}

class EventStream {
  readonly #services: Services;
  readonly #request: FastifyRequest;
  readonly #reply: FastifyReply;
  readonly #view: StreamView;
  readonly #outlet: Outlet;
  readonly #reader: SessionReader;
  readonly #stops: (() => void)[] = [];
  #ended = false;

  constructor(services: Services, request: FastifyRequest, reply: FastifyReply, view: StreamView) {
    this.#services = services;
    this.#request = request;
    this.#reply = reply;
    this.#view = view;
    const { clock, feeds, tuning } = services;
    const socket: Socket = request.raw.socket;
    this.#outlet = new Outlet(socket, clock, {
      highWaterBytes: tuning.highWaterBytes,
      slowReaderMs: tuning.slowReaderMs,
      onReady: () => this.#reader.pump(),
      onSlow: () => this.#cut(),
    });
    const outlet = this.#outlet;
    this.#reader = new SessionReader({
      ref: view.ref,
      after: view.after,
      feeds,
      clock,
      sink: {
        get ready() {
          return outlet.ready;
        },
        write: (event) => this.#write(event),
        end: (error) => this.#end(error),
      },
    });
  }

  start(headers: Record<string, unknown>, principal: Principal, closed: () => void): void {
    const { access, attachments, drain } = this.#services;
    const { raw } = this.#reply;
    raw.writeHead(200, {
      ...(headers as Record<string, string>),
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    raw.write(`retry: ${RETRY_MS}\n\n`);
    raw.on("close", () => this.#close());
    this.#stops.push(
      closed,
      drain.add({ transport: "sse", restart: () => this.#restart() }),
      access.onLost(principal, (error) => this.#end(error)),
      this.#beat(),
    );
    if (principal.tenant !== null && principal.scope !== "operator") {
      this.#stops.push(attachments.attach(principal.tenant, principal.user));
    }
    this.#reader.pump();
  }

  #write(event: EncodedEvent): boolean {
    const { show, end } = decideShow(this.#view, event);
    if (show) this.#outlet.send(() => this.#reply.raw.write(event.sse));
    return !end;
  }

  /** A comment, so that proxies and clients see that the connection lives. */
  #beat(): () => void {
    const { clock, tuning } = this.#services;
    let stop: () => void = () => undefined;
    const beat = () => {
      stop = clock.after(tuning.heartbeatMs, beat);
      if (this.#outlet.ready) this.#outlet.send(() => this.#reply.raw.write(": beat\n\n"));
    };
    stop = clock.after(tuning.heartbeatMs, beat);
    return () => stop();
  }

  /** Too slow: told so, and cut if it does not even take that. */
  #cut(): void {
    this.#services.metrics.count("berth_gateway_readers_cut_total", { transport: "sse" });
    this.#end(
      new Failure(
        "session.slow_reader",
        `the last event that was sent has seq ${this.#reader.cursor}`,
      ),
    );
  }

  #restart(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#reply.raw.once("close", resolve);
    });
    this.#end(undefined);
    return gone;
  }

  #end(error: BerthError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    const { raw } = this.#reply;
    if (error)
      raw.write(`event: error\ndata: ${JSON.stringify(toProblem(error, this.#request.id))}\n\n`);
    raw.end();
    const { clock, tuning } = this.#services;
    const stop = clock.after(tuning.closeGraceMs, () => raw.destroy());
    raw.once("close", stop);
    this.#reader.close();
  }

  #close(): void {
    this.#ended = true;
    for (const stop of this.#stops.splice(0)) stop();
    this.#outlet.close();
    this.#reader.close();
  }
}
