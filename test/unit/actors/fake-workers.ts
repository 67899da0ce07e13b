/** A driver host and its executors, played on the bus: no process, and each job does what its prompt says. */

import { SUPERVISOR_KEY, Supervisor } from "../../../protocols/actors/supervisor.ts";
import type { Outcome } from "../../../protocols/events.ts";
import type { DownRequest, Frame, JobOrder, WorkerSpec } from "../../../protocols/executor.ts";
import { partitionOf } from "../../../protocols/partition.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { decodeReply, pack, unpack } from "../../../runtime/ask-codec.ts";
import type { Client } from "../../../runtime/client.ts";
import type { Serving, Transport } from "../../../runtime/transport.ts";

interface Running {
  readonly order: JobOrder;
  frame: number;
}

interface FakeWorker {
  readonly spec: WorkerSpec;
  readonly jobs: Map<string, Running>;
  readonly down: Serving;
}

/** Prompts: `hold` starts and goes on until it is cancelled, `mute` takes the order and says nothing; all else is echoed. */
export class FakeWorkers {
  readonly live = new Map<string, FakeWorker>();
  readonly ran: { job: string; attempt: number; worker: string }[] = [];
  readonly removed: string[] = [];
  starts = 0;
  failStarts = 0;
  readonly #transport: Transport;
  readonly #client: Client;
  readonly #serving: Serving[] = [];

  constructor(transport: Transport, client: Client, node: string) {
    this.#transport = transport;
    this.#client = client;
    const serve = (verb: string, handle: (input: Record<string, unknown>) => object) =>
      this.#serving.push(
        transport.bus.serve(subjects.driver(node, verb), undefined, (request) => {
          request.reply(pack(handle(unpack(request.data) as Record<string, unknown>)));
        }),
      );
    serve("start", ({ spec }) => this.#start(spec as WorkerSpec, node));
    serve("stop", ({ worker }) => {
      this.#drop(worker as string);
      return { ok: true, output: {} };
    });
    serve("verify", ({ workers }) => {
      const lost = (workers as { worker: string }[]).filter(({ worker }) => !this.live.has(worker));
      return { ok: true, output: { lost: lost.map(({ worker }) => worker), cpu_ms: {} } };
    });
    serve("remove-workspace", ({ workspace_key }) => {
      this.removed.push(workspace_key as string);
      return { ok: true, output: {} };
    });
  }

  /** The worker dies; its host notices, as a driver does for its child process. */
  async kill(worker: string, reason = "killed"): Promise<void> {
    const tenant = this.live.get(worker)?.spec.tenant ?? "";
    this.#drop(worker);
    await this.#client.actor(Supervisor, tenant, SUPERVISOR_KEY).exited({ worker, reason });
  }

  /** The worker disappears and nobody says so. */
  vanish(worker: string): void {
    this.#drop(worker);
  }

  async close(): Promise<void> {
    for (const worker of this.live.keys()) this.#drop(worker);
    await Promise.all(this.#serving.map((serving) => serving.close()));
  }

  #drop(worker: string): void {
    const fake = this.live.get(worker);
    this.live.delete(worker);
    fake?.down.close().catch(() => undefined);
  }

  #start(spec: WorkerSpec, node: string): object {
    this.starts += 1;
    if (this.failStarts > 0) {
      this.failStarts -= 1;
      return { ok: false, error: { code: "driver.failed", message: "no image" } };
    }
    if (!this.live.has(spec.worker)) {
      const down = this.#transport.bus.serve(subjects.down(spec.worker), undefined, (request) => {
        request.reply(pack(this.#down(spec.worker, unpack(request.data) as DownRequest)));
      });
      this.live.set(spec.worker, { spec, jobs: new Map(), down });
    }
    return { ok: true, output: { host: node, driver: "fake" } };
  }

  #down(worker: string, request: DownRequest): object {
    const fake = this.live.get(worker);
    if (!fake) return { ok: false, error: { code: "worker.not_found", message: "gone" } };
    if (request.type === "run") return this.#run(fake, request.order);
    if (request.type === "cancel") {
      const running = fake.jobs.get(request.job_id);
      if (running?.order.attempt !== request.attempt) {
        return { ok: false, error: { code: "job.not_running", message: "unknown" } };
      }
      this.#end(fake, running, { state: "cancelled", processes_killed: 1 });
    }
    return { ok: true };
  }

  #run(fake: FakeWorker, order: JobOrder): object {
    const { worker, slots } = fake.spec;
    if (fake.jobs.get(order.job_id)?.order.attempt === order.attempt) return { ok: true };
    if (fake.jobs.size >= slots) {
      return { ok: false, error: { code: "worker.busy", message: "no free slot" } };
    }
    const running: Running = { order, frame: 0 };
    fake.jobs.set(order.job_id, running);
    this.ran.push({ job: order.job_id, attempt: order.attempt, worker });
    if (order.prompt === "mute") return { ok: true };
    const started = { type: "job.started" as const, at: 0, data: {} };
    if (order.prompt === "hold") {
      this.#send(fake, running, { events: [started] }).catch(() => undefined);
      return { ok: true };
    }
    const data = { stream: "stdout", text: order.prompt, offset: 0 };
    const output = { type: "agent.output" as const, at: 0, data };
    this.#send(fake, running, { events: [started, output] })
      .then(() => this.#end(fake, running, { state: "succeeded", exit_code: 0 }))
      .catch(() => undefined);
    return { ok: true };
  }

  #end(fake: FakeWorker, running: Running, outcome: Outcome): void {
    this.#send(fake, running, { events: [], outcome })
      .then(() => fake.jobs.delete(running.order.job_id))
      .catch(() => undefined);
  }

  /** Resends until acknowledged, refused for good, or the worker is gone; as the executor does. */
  async #send(
    fake: FakeWorker,
    running: Running,
    more: Pick<Frame, "events" | "outcome">,
  ): Promise<void> {
    const { job_id, attempt, tenant, session_id } = running.order;
    const { worker } = fake.spec;
    running.frame += 1;
    const payload: Frame = { worker, job_id, attempt, frame: running.frame, ...more };
    const ref = { kind: "session", tenant, key: session_id };
    const subject = subjects.up(worker, partitionOf(ref, this.#transport.partitions), ref);
    while (this.live.has(worker)) {
      const id = `${worker}-${job_id}-${running.frame}`;
      const ask = { id, type: "frame", payload, deadline: Date.now() + 1_000 };
      const answer = await this.#transport.bus
        .request(subject, pack(ask), 1_000)
        .catch(() => undefined);
      const reply = answer && decodeReply(answer);
      if (reply?.ok) return;
      if (reply?.error.code === "job.superseded") throw new Error("superseded");
    }
  }
}
