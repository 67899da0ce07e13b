/**
 * One WebSocket.
 *
 * W1 Nothing but `auth` is answered before the connection has a principal.
 * W2 What waits for the client is bounded: readers stop at the outlet's mark, frames in work have a limit.
 * W3 Each subscription is checked against the owner, also when it resumes; the id is not a credential.
 * W4 A close names the cursors that the client goes on from, as far as the client still reads.
 */
import type { FastifyRequest } from "fastify";
import { ulid } from "ulid";
import type { WebSocket } from "ws";
import { BerthError } from "../../protocols/errors.ts";
import { CLOSE_CODES, type ClientFrame, type ServerFrame } from "../../protocols/frames.ts";
import { identify, takePermit } from "../admission.ts";
import type { Principal } from "../auth/principal.ts";
import type { Jobs } from "../jobs.ts";
import { retryAfterOf, thrownError } from "../problem.ts";
import { Outlet } from "../reader/outlet.ts";
import { SessionReader } from "../reader/session-reader.ts";
import { callerOf } from "../routes/app.ts";
import type { Services } from "../services.ts";
import { type Sessions, sessionRef } from "../sessions.ts";
import { type FrameOrigin, noteStreamDenial, withAudit } from "./frame-audit.ts";
import { refOf } from "./frame-ref.ts";
import { Heartbeat, NO_ANSWER } from "./heartbeat.ts";
import { inOrderSpan } from "./order-span.ts";
import { parseFrame } from "./parse-frame.ts";
import { reconnectPauseMs } from "./reconnect-pause.ts";

type FrameOf<T extends ClientFrame["type"]> = Extract<ClientFrame, { type: T }>;

export interface StreamDeps {
  readonly services: Services;
  readonly jobs: Jobs;
  readonly sessions: Sessions;
}

export class Connection {
  readonly #id = `conn_${ulid()}`;
  readonly #ws: WebSocket;
  readonly #deps: StreamDeps;
  readonly #outlet: Outlet;
  readonly #heartbeat: Heartbeat;
  readonly #origin: FrameOrigin;
  readonly #readers = new Map<string, SessionReader>();
  readonly #stops: (() => void)[] = [];
  #principal: Principal | undefined;
  #authenticating = false;
  readonly #isStranger: boolean;
  #badFrames = 0;
  #refusedFrames = 0;
  #pending = 0;
  #closing = false;

  constructor(ws: WebSocket, request: FastifyRequest, deps: StreamDeps) {
    this.#ws = ws;
    this.#deps = deps;
    this.#isStranger = request.principal === null;
    this.#origin = { connection: this.#id, source: request.ip };
    const { clock, drain, tuning } = deps.services;
    this.#outlet = new Outlet(request.raw.socket, clock, {
      highWaterBytes: tuning.highWaterBytes,
      slowReaderMs: tuning.slowReaderMs,
      onReady: () => this.#pump(),
      onSlow: () => this.#cutSlow(),
    });
    this.#heartbeat = new Heartbeat(clock, {
      everyMs: tuning.heartbeatMs,
      ping: () => ws.ping(),
      isFair: () => this.#outlet.ready,
      onGone: () => this.#closeWith(CLOSE_CODES.idle, NO_ANSWER),
    });
    ws.on("message", (data, isBinary) => this.#take(data as Buffer, isBinary));
    ws.on("pong", () => this.#heartbeat.heard());
    ws.on("close", () => this.#closed());
    ws.on("error", () => ws.terminate());
    this.#stops.push(
      drain.add({ transport: "websocket", restart: () => this.#restart() }),
      clock.after(tuning.patienceMs, () => this.#checkAuthenticated()),
    );
  }

  /** Answers with `welcome`, or with the error and a close. */
  async authenticate(token: string | undefined): Promise<void> {
    const { services } = this.#deps;
    const { access, attachments, tuning } = services;
    if (this.#principal || this.#authenticating) return;
    this.#authenticating = true;
    try {
      const principal = await identify(services, this.#origin.source, () => token);
      const tenant = await access.tenantOf(principal);
      if (this.#closing) return;
      this.#stops.push(services.streamBounds.open(principal, tenant?.tier));
      this.#principal = principal;
      if (this.#isStranger) services.strangers.forgive(this.#origin.source);
      this.#stops.push(
        access.onLost(principal, (error) => this.#closeWith(CLOSE_CODES.auth, error)),
        () => this.#heartbeat.stop(),
      );
      this.#heartbeat.start();
      if (tenant?.tier === "pro") this.#stops.push(attachments.attach(tenant.id, principal.user));
      this.#send({
        type: "welcome",
        connection_id: this.#id,
        tenant: principal.tenant,
        user: principal.user,
        scope: principal.scope,
        tier: tenant?.tier ?? null,
        heartbeat_ms: tuning.heartbeatMs,
        max_subscriptions: tuning.maxSubscriptions,
      });
    } catch (thrown) {
      const error = thrownError(thrown);
      noteStreamDenial(services, this.#origin, undefined, { code: error.code, frame: "auth" });
      this.#closeWith(error.retry === "never" ? CLOSE_CODES.auth : CLOSE_CODES.tryLater, error);
    } finally {
      this.#authenticating = false;
    }
  }

  #take(data: Buffer, isBinary: boolean): void {
    if (this.#closing) return;
    this.#heartbeat.heard();
    const parsed = parseFrame(data, isBinary);
    if (!parsed.ok) {
      this.#refuse(parsed.error, parsed.ref);
      return;
    }
    const { frame } = parsed;
    if (frame.type === "auth") {
      void this.authenticate(frame.token);
      return;
    }
    const { tuning } = this.#deps.services;
    if (!this.#principal && !this.#authenticating) {
      this.#closeWith(CLOSE_CODES.auth, new BerthError("auth.missing"));
    } else if (this.#pending >= tuning.maxPendingFrames) {
      this.#refuseFrame(new BerthError("request.rate_limited", "too many frames in work"), frame);
    } else void this.#work(frame);
  }

  async #work(frame: ClientFrame): Promise<void> {
    this.#pending += 1;
    try {
      const principal = this.#principal;
      if (!principal) throw new BerthError("auth.missing");
      const { services } = this.#deps;
      await takePermit(services, principal);
      const ownerOf = async (of: Principal, id: string) =>
        (await this.#deps.jobs.record(of, id)).tenant;
      await inOrderSpan(services.tracer, frame.type, () =>
        withAudit(services, this.#origin, { principal, frame, ownerOf }, () =>
          this.#handle(principal, frame),
        ),
      );
    } catch (thrown) {
      const error = thrownError(thrown);
      const of = { code: error.code, frame: frame.type };
      noteStreamDenial(this.#deps.services, this.#origin, this.#principal, of);
      this.#refuseFrame(error, frame);
    } finally {
      this.#pending -= 1;
    }
  }

  async #handle(principal: Principal, frame: ClientFrame): Promise<void> {
    const { jobs } = this.#deps;
    switch (frame.type) {
      case "subscribe":
        return this.#subscribe(principal, frame);
      case "unsubscribe":
        return this.#unsubscribe(frame);
      case "submit":
        return this.#submit(principal, frame);
      case "cancel":
        await jobs.cancel(principal, frame.job_id);
        return this.#send({ type: "done", job_id: frame.job_id, ...refOf(frame) });
      case "input":
        await jobs.input(principal, frame.job_id, frame.text);
        return this.#send({ type: "done", job_id: frame.job_id, ...refOf(frame) });
      case "ping":
        return this.#send({ type: "pong", ...refOf(frame) });
      case "auth":
        return undefined;
    }
  }

  /** Subscribing again moves the cursor: the old reader ends in front of the answer. */
  async #subscribe(principal: Principal, frame: FrameOf<"subscribe">): Promise<void> {
    this.#checkRoom(frame.session_id);
    const session = await this.#deps.sessions.find(principal, frame.session_id, frame.tenant); // W3
    this.#follow(session.tenant, session.id, frame.after ?? session.last_seq, refOf(frame));
  }

  #checkRoom(sessionId: string): void {
    const { maxSubscriptions } = this.#deps.services.tuning;
    if (this.#readers.has(sessionId) || this.#readers.size < maxSubscriptions) return;
    throw new BerthError("request.rate_limited", `${maxSubscriptions} subscriptions are the limit`);
  }

  #follow(tenant: string, sessionId: string, after: number, ref: { readonly ref?: string }): void {
    if (this.#closing) return;
    this.#checkRoom(sessionId);
    this.#readers.get(sessionId)?.close();
    const outlet = this.#outlet;
    const { feeds, clock } = this.#deps.services;
    const reader = new SessionReader({
      ref: sessionRef(tenant, sessionId),
      after,
      feeds,
      clock,
      sink: {
        get ready() {
          return outlet.ready;
        },
        write: (event) => {
          outlet.send(() => this.#ws.send(event.frame, { binary: false }));
          return true;
        },
        end: (error) => this.#ended(sessionId, error),
      },
    });
    this.#readers.set(sessionId, reader);
    this.#send({ type: "subscribed", session_id: sessionId, seq: after, ...ref });
    reader.pump();
  }

  #unsubscribe(frame: FrameOf<"unsubscribe">): void {
    const { session_id } = frame;
    const reader = this.#readers.get(session_id);
    if (!reader) throw new BerthError("session.not_found", "there is no such subscription");
    reader.close();
    this.#readers.delete(session_id);
    this.#send({ type: "unsubscribed", session_id, seq: reader.cursor, ...refOf(frame) });
  }

  async #submit(principal: Principal, { ref, job }: FrameOf<"submit">): Promise<void> {
    const { jobs, services, sessions } = this.#deps;
    const caller = await callerOf(services, principal);
    const seed = ulid();
    const sessionId = job.session_id ?? `ses_${seed}`;
    this.#checkRoom(sessionId);
    const known = this.#readers.has(sessionId);
    const isNew = job.session_id === undefined;
    // The cursor is taken before the job is, so the job's first event comes after it.
    const after = known || isNew ? 0 : (await sessions.find(principal, sessionId)).last_seq;
    const accepted = await jobs.submit(caller, job, { job: `job_${seed}`, session: sessionId });
    const { id, session_id } = accepted.job;
    this.#send({ type: "accepted", ref, job_id: id, session_id });
    if (!known) this.#follow(caller.principal.tenant, session_id, after, {});
  }

  #pump(): void {
    for (const reader of this.#readers.values()) reader.pump();
  }

  #ended(sessionId: string, error: BerthError | undefined): void {
    const reader = this.#readers.get(sessionId);
    this.#readers.delete(sessionId);
    if (!error) return;
    const seq = reader?.cursor ?? 0;
    const { code, message } = error;
    this.#send({ type: "error", code, message, session_id: sessionId, seq });
  }

  #send(frame: ServerFrame): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    this.#outlet.send(() => this.#ws.send(JSON.stringify(frame)));
  }

  #error(error: BerthError, frame: ClientFrame | { readonly ref?: string | undefined } = {}): void {
    const { code, message } = error;
    const retryAfterMs = retryAfterOf(error);
    this.#send({
      type: "error",
      code,
      message,
      ...refOf(frame),
      ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
    });
  }

  #refuse(error: BerthError, ref: string | undefined): void {
    this.#badFrames += 1;
    const { maxBadFrames } = this.#deps.services.tuning;
    if (!this.#principal || this.#badFrames >= maxBadFrames) {
      this.#closeWith(CLOSE_CODES.malformed, error);
    } else this.#error(error, { ref });
  }

  /** A client that goes on sending although it is told to wait is cut. */
  #refuseFrame(error: BerthError, frame: ClientFrame): void {
    if (error.code === "request.rate_limited") this.#refusedFrames += 1;
    if (this.#refusedFrames < this.#deps.services.tuning.maxRefusedFrames)
      this.#error(error, frame);
    else this.#closeWith(CLOSE_CODES.tryLater, error);
  }

  #checkAuthenticated(): void {
    if (!this.#principal) this.#closeWith(CLOSE_CODES.auth, new BerthError("auth.missing"));
  }

  /** Told, closed, and cut if it does not even read that. */
  #cutSlow(): void {
    this.#deps.services.metrics.count("berth_gateway_readers_cut_total", {
      transport: "websocket",
    });
    const { code, message } = new BerthError("session.slow_reader");
    for (const [sessionId, { cursor: seq }] of this.#readers) {
      this.#send({ type: "error", code, message, session_id: sessionId, seq });
    }
    this.#close(CLOSE_CODES.tryLater, code);
  }

  #restart(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#ws.once("close", () => resolve());
    });
    this.#close(CLOSE_CODES.restart, "node.draining");
    return gone;
  }

  #closeWith(code: number, error: BerthError): void {
    this.#error(error);
    this.#close(code, error.code);
  }

  #close(code: number, reason: string): void {
    if (this.#closing) return;
    const cursors = Object.fromEntries(
      [...this.#readers].map(([sessionId, reader]) => [sessionId, reader.cursor]),
    );
    const reconnectAfterMs = reconnectPauseMs(this.#id);
    this.#send({ type: "closing", reason, cursors, reconnect_after_ms: reconnectAfterMs }); // W4
    this.#closing = true;
    for (const reader of this.#readers.values()) reader.close();
    const { clock, tuning } = this.#deps.services;
    this.#ws.close(code, reason);
    const stop = clock.after(tuning.closeGraceMs, () => this.#ws.terminate());
    this.#ws.once("close", stop);
  }

  #closed(): void {
    this.#closing = true;
    for (const stop of this.#stops.splice(0)) stop();
    for (const reader of this.#readers.values()) reader.close();
    this.#readers.clear();
    this.#outlet.close();
  }
}
