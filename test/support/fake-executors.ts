/** Executors, played on the bus: no process, and each job does what its prompt says. */
import type { Outcome } from "../../protocols/events.ts";
import type { DownRequest, Frame, JobOrder, WorkerSpec } from "../../protocols/executor.ts";
import { partitionOf } from "../../protocols/partition.ts";
import { subjects } from "../../protocols/subjects.ts";
import { decodeReply, pack, unpack } from "../../runtime/ask-codec.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { Serving, Transport } from "../../runtime/transport.ts";

interface Running {
  readonly order: JobOrder;
  frame: number;
}

export interface FakeExecutor {
  readonly spec: WorkerSpec;
  readonly jobs: Map<string, Running>;
  readonly down: Serving;
}

const HELLO_MS = 20;
const AGAIN_MS = 10;

/** Prompts: `hold` starts and goes on until it is cancelled, `mute` takes the order and says nothing; all else is echoed. */
export class FakeExecutors {
  readonly live = new Map<string, FakeExecutor>();
  readonly ran: { job: string; attempt: number; worker: string }[] = [];
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  boot(spec: WorkerSpec): void {
    if (this.live.has(spec.worker)) return;
    const down = this.#transport.bus.serve(subjects.down(spec.worker), undefined, (request) => {
      request.reply(pack(this.#down(spec.worker, unpack(request.data) as DownRequest)));
    });
    this.live.set(spec.worker, { spec, jobs: new Map(), down });
  }

  /** Says hello until a host answers. */
  async sayHello(worker: string): Promise<void> {
    while (this.live.has(worker)) {
      const status = pack({ worker, cpu_ms: 0 });
      const answer = await this.#transport.bus
        .request(subjects.hello(worker), status, HELLO_MS * 5)
        .catch(() => undefined);
      if (answer) return;
      await systemClock.sleep(HELLO_MS);
    }
  }

  drop(worker: string): void {
    const fake = this.live.get(worker);
    this.live.delete(worker);
    fake?.down.close().catch(() => undefined);
  }

  #down(worker: string, request: DownRequest): object {
    const fake = this.live.get(worker);
    if (!fake) return { ok: false, error: { code: "worker.not_found", message: "gone" } };
    if (request.type === "run") return this.#run(fake, request.order);
    if (request.type === "status") {
      const jobs = [...fake.jobs.values()].map(({ order: { job_id, attempt } }) => ({
        job_id,
        attempt,
      }));
      const status = { worker, jobs, pid: 1, uptime_ms: 1, cpu_ms: 0, memory_bytes: 1 };
      return { ok: true, status };
    }
    if (request.type === "cancel") {
      const running = fake.jobs.get(request.job_id);
      if (running?.order.attempt !== request.attempt) {
        return { ok: false, error: { code: "job.not_running", message: "unknown" } };
      }
      this.#end(fake, running, { state: "cancelled", processes_killed: 1 });
    }
    return { ok: true };
  }

  #run(fake: FakeExecutor, order: JobOrder): object {
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

  #end(fake: FakeExecutor, running: Running, outcome: Outcome): void {
    this.#send(fake, running, { events: [], outcome })
      .then(() => fake.jobs.delete(running.order.job_id))
      .catch(() => undefined);
  }

  /** Resends until acknowledged, refused for good, or the worker is gone; as the executor does. */
  async #send(
    fake: FakeExecutor,
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
      await systemClock.sleep(AGAIN_MS);
    }
  }
}
