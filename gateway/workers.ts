/** Workers for those who run a deployment: their records, and what their hosts tell of them. */
import type { WholeWorker, WorkerLog, WorkerPage } from "../protocols/api-operators.ts";
import { BerthError } from "../protocols/errors.ts";
import { type WorkerRecord, workerRecordSchema } from "../protocols/executor.ts";
import { decideTenant, type Principal } from "./auth/principal.ts";
import { requireRoute } from "./auth/scopes.ts";
import { paginate, parseValue, readAll } from "./listing.ts";
import type { Services } from "./services.ts";
import { wholeWorkerView, workerView } from "./views.ts";
import { readLog } from "./worker-logs.ts";

interface WorkerQuery {
  readonly limit: number;
  readonly after?: string | undefined;
  readonly tenant?: string | undefined;
}

export class Workers {
  readonly #services: Services;

  constructor(services: Services) {
    this.#services = services;
  }

  /** Hosts that do not answer are named, not waited for. */
  async list(principal: Principal, { tenant: named, ...page }: WorkerQuery): Promise<WorkerPage> {
    const tenant = decideScope(principal, "workers", named);
    const all = await readAll(this.#services.transport.buckets, "workers", workerRecordSchema);
    const records = all.map(({ value }) => value).filter((record) => isOf(tenant, record));
    const { data, next } = paginate(records, page);
    const isOperator = principal.scope === "operator";
    const census = await this.#services.hosts.read(await this.#hostsOf(data, isOperator));
    return {
      data: data.map((worker) => workerView(worker, census.worker(worker.id, worker.host))),
      next,
      unanswered: [...census.unanswered],
      dormant: isOperator ? { ...census.dormant } : null,
    };
  }

  /** Rejects with `worker.not_found`, also for workers of others. */
  async find(principal: Principal, id: string): Promise<WholeWorker> {
    const tenant = decideScope(principal, "workers");
    const record = await this.#record(id);
    if (!record || !isOf(tenant, record)) throw new BerthError("worker.not_found");
    const census = await this.#services.hosts.read(await this.#hostsOf([record], false));
    return wholeWorkerView(record, census.worker(id, record.host), census.unanswered);
  }

  /** The last that it wrote; `onRead` is told first whose it is. Once it has ended no record says whose it was: then operators alone read it. */
  async log(
    principal: Principal,
    id: string,
    onRead: (tenant: string | undefined) => Promise<void>,
  ): Promise<WorkerLog> {
    const tenant = decideScope(principal, "workerLogs");
    const record = await this.#record(id);
    if (tenant !== undefined && !(record && isOf(tenant, record)))
      throw new BerthError("worker.not_found");
    await onRead(record?.spec.tenant);
    return await readLog(this.#services, id, record?.host ?? undefined);
  }

  async #record(id: string): Promise<WorkerRecord | undefined> {
    const entry = await this.#services.transport.buckets.get("workers", id);
    return entry?.value && parseValue(workerRecordSchema, entry.value);
  }

  /** One that starts may be on any host: its record says where only once it is up. */
  async #hostsOf(workers: readonly WorkerRecord[], all: boolean): Promise<string[]> {
    const recorded = workers.flatMap(({ host }) => host ?? []);
    const isAnywhere = workers.some(({ host, phase }) => host === null && phase === "starting");
    return all || isAnywhere ? [...recorded, ...(await this.#services.hosts.hosts())] : recorded;
  }
}

/** The tenant whose workers are seen; undefined is any. Users see none. */
function decideScope(
  principal: Principal,
  group: "workers" | "workerLogs",
  named?: string,
): string | undefined {
  requireRoute(principal, group, "read");
  return decideTenant(principal, named);
}

function isOf(tenant: string | undefined, { spec }: WorkerRecord): boolean {
  return tenant === undefined || spec.tenant === tenant;
}
