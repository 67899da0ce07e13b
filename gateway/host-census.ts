/** What hosts tell of their workers: asked of each host at most once a second, however many look. */
import { asBerthError } from "../protocols/errors.ts";
import {
  type HostWorkers,
  hostWorkersSchema,
  type StartStep,
  type WorkerUse,
} from "../protocols/executor.ts";
import { nodeRecordSchema } from "../protocols/records.ts";
import { subjects } from "../protocols/subjects.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Transport } from "../runtime/transport.ts";
import { CpuRates } from "./cpu-rates.ts";
import { parseValue, readAll } from "./listing.ts";
import { SharedAnswers } from "./shared-answers.ts";

const FRESH_MS = 1_000;
/** Hosts asked at once, and how long one may take: it reads what its engine has measured. */
const AT_ONCE = 16;
const HOST_MS = 2_000;

/** What is known of one worker at this moment. */
export interface SeenWorker {
  readonly use: WorkerUse | undefined;
  readonly cpusUsed: number | null;
  readonly step: StartStep | null;
}

export interface Census {
  /** Of hosts that answered. */
  worker(id: string, host: string | null): SeenWorker;
  /** By tier, over the hosts that answered. */
  readonly dormant: Readonly<Record<string, number>>;
  readonly unanswered: readonly string[];
}

export class HostCensus {
  readonly #parts: {
    readonly transport: Transport;
    readonly clock: Clock;
    readonly logger: Logger;
  };
  readonly #rates = new CpuRates();
  readonly #answers: SharedAnswers<HostWorkers | undefined>;

  constructor(parts: {
    readonly transport: Transport;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#parts = parts;
    this.#answers = new SharedAnswers({
      clock: parts.clock,
      freshMs: FRESH_MS,
      ask: (node) => this.#ask(node),
    });
  }

  /** Nodes that hold a lease and start workers. */
  async hosts(): Promise<string[]> {
    const nodes = await readAll(this.#parts.transport.buckets, "nodes", nodeRecordSchema);
    return nodes.filter(({ value }) => value.drivers.length > 0).map(({ value }) => value.id);
  }

  async read(hosts: Iterable<string>): Promise<Census> {
    const asked = [...new Set(hosts)];
    const answers: (HostWorkers | undefined)[] = [];
    for (let at = 0; at < asked.length; at += AT_ONCE) {
      const some = asked.slice(at, at + AT_ONCE).map((host) => this.#answers.get(host));
      answers.push(...(await Promise.all(some)));
    }
    const told = answers.filter((answer) => answer !== undefined);
    return {
      worker: (id, host) => this.#find(told, id, host),
      dormant: sumDormant(told),
      unanswered: asked.filter((_, at) => answers[at] === undefined),
    };
  }

  #find(told: readonly HostWorkers[], id: string, host: string | null): SeenWorker {
    const on = told.filter(({ node }) => host === null || node === host);
    const use = on.find((answer) => answer.use[id] !== undefined)?.use[id];
    const step = on.map(({ steps }) => steps[id]).find((found) => found !== undefined);
    return { use, cpusUsed: use ? this.#rates.of(id) : null, step: step ?? null };
  }

  /** Undefined when the host does not answer, or not as one of this version does. */
  async #ask(node: string): Promise<HostWorkers | undefined> {
    const { logger, transport } = this.#parts;
    try {
      const subject = subjects.node(node, "workers");
      const answer = parseValue(
        hostWorkersSchema,
        await transport.bus.request(subject, new Uint8Array(), HOST_MS),
      );
      for (const [worker, { cpu_ms, read_at }] of Object.entries(answer?.use ?? {}))
        this.#rates.note(worker, { at: read_at ?? answer?.at ?? 0, cpuMs: cpu_ms });
      return answer;
    } catch (thrown) {
      logger.info({ err: asBerthError(thrown), node }, "a host did not tell of its workers");
      return undefined;
    }
  }
}

function sumDormant(told: readonly HostWorkers[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const { dormant } of told) {
    for (const [tier, count] of Object.entries(dormant)) sum[tier] = (sum[tier] ?? 0) + count;
  }
  return sum;
}
