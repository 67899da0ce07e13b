/** A broker, a stand-in for the nodes that a worker talks to, and workers: all over real NATS. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { pack, unpack } from "msgpackr";
import { type ExecutorConfig, parseExecutorConfig } from "../../executor/config.ts";
import { serversOf } from "../../executor/link.ts";
import { runWorker } from "../../executor/worker.ts";
import type { AskReply, AskRequest } from "../../protocols/envelope.ts";
import type { DraftEvent, Outcome } from "../../protocols/events.ts";
import type { DownReply, DownRequest, Frame, JobOrder } from "../../protocols/executor.ts";
import { refOfSubject, subjects } from "../../protocols/subjects.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { eventually } from "./eventually.ts";
import { startNats } from "./nats.ts";

export interface Broker extends AsyncDisposable {
  /** Of the platform; and of workers, whose credential allows what a worker needs and nothing else. */
  readonly url: string;
  readonly workerUrl: string;
  start(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

/** A server with the users and permissions of production. */
export async function startBroker(): Promise<Broker> {
  const nats = await startNats({ authorize: true });
  return {
    url: nats.url,
    workerUrl: nats.workerUrl,
    start: () => nats.restart(),
    kill: () => nats.kill(),
    [Symbol.asyncDispose]: () => nats[Symbol.asyncDispose](),
  };
}

/** What a session has been told: its events in order, each frame once. */
export class SessionLog {
  readonly events: DraftEvent[] = [];
  lastFrame = 0;
  repeats = 0;
  outcome: Outcome | undefined;
  agentSession: string | undefined;

  take(frame: Frame): void {
    if (frame.frame !== this.lastFrame + 1) {
      this.repeats += 1;
      return;
    }
    this.lastFrame = frame.frame;
    this.events.push(...frame.events);
    this.outcome ??= frame.outcome;
    this.agentSession = frame.agent_session ?? this.agentSession;
  }

  text(stream = "stdout"): string {
    return this.events
      .filter(({ type, data }) => type === "agent.output" && data["stream"] === stream)
      .map(({ data }) => String(data["text"]))
      .join("");
  }
}

/** Plays the nodes: keeps what sessions are sent, answers hellos and beats. */
export class NodeDouble implements AsyncDisposable {
  readonly sessions = new Map<string, SessionLog>();
  /** Workers whose hello was answered. */
  readonly hellos = new Set<string>();
  /** Workers that have said hello. */
  readonly asked = new Set<string>();
  beats = 0;
  isSilent = false;
  /** Answers instead of the session, or undefined to take the frame as usual; "lost" takes it and loses the answer. */
  fault: (frame: Frame) => AskReply | "lost" | undefined = () => undefined;
  readonly #nc: NatsConnection;

  private constructor(nc: NatsConnection) {
    this.#nc = nc;
    nc.subscribe("berth.up.>", {
      callback: (_error, message) => {
        const request = unpack(message.data) as AskRequest;
        const reply = this.#take(refOfSubject(message.subject).key, request.payload as Frame);
        if (reply !== undefined && !this.isSilent) message.respond(pack(reply));
      },
    });
    for (const subject of [subjects.hellos, subjects.beats]) {
      nc.subscribe(subject, {
        callback: (_error, message) => {
          const worker = message.subject.split(".").at(-1) ?? "";
          if (subject === subjects.hellos) this.asked.add(worker);
          if (this.isSilent) return;
          if (subject === subjects.beats) this.beats += 1;
          else this.hellos.add(worker);
          message.respond(pack({ ok: true }));
        },
      });
    }
  }

  static async open(broker: Broker): Promise<NodeDouble> {
    const nc = await connect({
      ...serversOf(broker.url),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
    });
    const node = new NodeDouble(nc);
    await nc.flush();
    return node;
  }

  session(id: string): SessionLog {
    const log = this.sessions.get(id) ?? new SessionLog();
    this.sessions.set(id, log);
    return log;
  }

  async tell(worker: string, request: DownRequest): Promise<DownReply> {
    const answer = await this.#nc.request(subjects.down(worker), pack(request), { timeout: 5_000 });
    return unpack(answer.data) as DownReply;
  }

  /** Runs the order to its end. */
  async run(worker: string, order: JobOrder, within = 15_000): Promise<SessionLog> {
    const reply = await this.tell(worker, { type: "run", order });
    if (!reply.ok) throw new Error(reply.error.code);
    return await this.over(order, within);
  }

  async over(order: JobOrder, within = 15_000): Promise<SessionLog> {
    const log = this.session(order.session_id);
    await eventually(() => log.outcome !== undefined, { name: `end of ${order.job_id}`, within });
    return log;
  }

  #take(session: string, frame: Frame): AskReply | undefined {
    const log = this.session(session);
    const fault = this.fault(frame);
    if (fault !== undefined && fault !== "lost") return fault;
    log.take(frame);
    return fault === "lost" ? undefined : { ok: true, payload: { acked: log.lastFrame } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nc.close();
  }
}

export interface WorkerRig extends AsyncDisposable {
  readonly id: string;
  readonly root: string;
  readonly ended: Promise<string>;
}

let count = 0;

/** A worker inside the test's own process. */
export async function startWorker(
  broker: Broker,
  node: NodeDouble,
  overrides: Partial<ExecutorConfig> & { readonly mode?: "job" | "user" } = {},
): Promise<WorkerRig> {
  const root = await mkdtemp(join(tmpdir(), "berth-test-"));
  const { mode = "job", ...config } = overrides;
  const id = config.worker ?? `wrk-${process.pid}-${++count}`;
  const base = parseExecutorConfig({
    PATH: process.env["PATH"],
    BERTH_WORKER: id,
    BERTH_NATS_URL: broker.workerUrl,
    BERTH_WORKSPACE: root,
    BERTH_WORKSPACE_MODE: mode,
    BERTH_SLOTS: "2",
    BERTH_GRACE_MS: "300",
  });
  const asked = new AbortController();
  const ended = runWorker({
    config: { ...base, ...config },
    clock: systemClock,
    log: silentLogger,
    signal: asked.signal,
  });
  await eventually(() => node.hellos.has(id), { name: "hello" });
  return {
    id,
    root,
    ended,
    async [Symbol.asyncDispose]() {
      asked.abort();
      await ended;
      await rm(root, { recursive: true, force: true });
    },
  };
}

export function orderOf(
  agent: string,
  prompt: string,
  overrides: Partial<JobOrder> = {},
): JobOrder {
  const nth = ++count;
  return {
    job_id: `job-${process.pid}-${nth}`,
    attempt: 1,
    tenant: "acme",
    user: "ann",
    session_id: `ses-${process.pid}-${nth}`,
    agent,
    prompt,
    timeout_ms: null,
    env: {},
    ...overrides,
  };
}
