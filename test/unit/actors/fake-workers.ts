/** A driver host and its executors, played on the bus. */
import { SUPERVISOR_KEY, Supervisor } from "../../../protocols/actors/supervisor.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { pack, unpack } from "../../../runtime/ask-codec.ts";
import type { Client } from "../../../runtime/client.ts";
import type { Serving, Transport } from "../../../runtime/transport.ts";
import { FakeExecutors } from "../../support/fake-executors.ts";

export class FakeWorkers {
  readonly removed: string[] = [];
  /** CPU time of the agents of each worker, as its host measures it. */
  readonly cpuMs = new Map<string, () => number>();
  starts = 0;
  failStarts = 0;
  readonly #executors: FakeExecutors;
  readonly #client: Client;
  readonly #serving: Serving[] = [];

  constructor(transport: Transport, client: Client, node: string) {
    this.#executors = new FakeExecutors(transport);
    this.#client = client;
    const serve = (verb: string, handle: (input: Record<string, unknown>) => object) =>
      this.#serving.push(
        transport.bus.serve(subjects.driver(node, verb), undefined, (request) => {
          request.reply(pack(handle(unpack(request.data) as Record<string, unknown>)));
        }),
      );
    serve("start", ({ spec }) => this.#start(spec as WorkerSpec, node));
    serve("stop", ({ worker }) => {
      this.vanish(worker as string);
      return { ok: true, output: {} };
    });
    serve("verify", ({ workers }) => this.#verify((workers as { worker: string }[]).map(nameOf)));
    serve("remove-workspace", ({ workspace_key }) => {
      this.removed.push(workspace_key as string);
      return { ok: true, output: {} };
    });
  }

  get live() {
    return this.#executors.live;
  }

  get ran() {
    return this.#executors.ran;
  }

  /** The worker dies; its host notices, as a driver does for its child process. */
  async kill(worker: string, reason = "killed"): Promise<void> {
    const tenant = this.live.get(worker)?.spec.tenant ?? "";
    this.vanish(worker);
    await this.#client.actor(Supervisor, tenant, SUPERVISOR_KEY).exited({ worker, reason });
  }

  /** The worker disappears and nobody says so. */
  vanish(worker: string): void {
    this.#executors.drop(worker);
  }

  async close(): Promise<void> {
    for (const worker of this.live.keys()) this.vanish(worker);
    await Promise.all(this.#serving.map((serving) => serving.close()));
  }

  #start(spec: WorkerSpec, node: string): object {
    this.starts += 1;
    if (this.failStarts > 0) {
      this.failStarts -= 1;
      return { ok: false, error: { code: "driver.failed", message: "no image" } };
    }
    this.#executors.boot(spec);
    return { ok: true, output: { host: node, driver: "fake" } };
  }

  #verify(workers: string[]): object {
    const lost = workers.filter((worker) => !this.live.has(worker));
    const alive = workers.filter((worker) => this.live.has(worker));
    const cpu_ms = Object.fromEntries(
      alive.map((worker) => [worker, this.cpuMs.get(worker)?.() ?? 0]),
    );
    return { ok: true, output: { lost, cpu_ms } };
  }
}

const nameOf = ({ worker }: { readonly worker: string }) => worker;
