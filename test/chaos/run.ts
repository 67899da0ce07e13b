/** One chaos run: the stage, the load, the faults, the judgement. */
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { NatsTransport } from "../../runtime/nats/transport.ts";
import { sharedAbort } from "../../runtime/shared-abort.ts";
import type { Child } from "./child.ts";
import { connectChaos } from "./connection.ts";
import { gather, readOwners } from "./evidence.ts";
import { type InjectedFault, injectFaults } from "./faults.ts";
import { addTallies, type Findings, type Tally, totalOf } from "./findings.ts";
import type { ChaosOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import { Probes } from "./probes.ts";
import { seededRandom } from "./random.ts";
import { RecordWatch } from "./record-watch.ts";
import { decideSchedule, type Fault } from "./schedule.ts";
import { Stage } from "./stage.ts";
import { type Evidence, judge, type Verdict } from "./verdicts.ts";

export interface Run {
  readonly options: ChaosOptions;
  readonly schedule: readonly Fault[];
  readonly faults: readonly InjectedFault[];
  readonly tally: Tally;
  readonly takeovers: readonly (number | undefined)[];
  /** By kind of fault: for each, the longest that any partition did not answer after it began (ms). */
  readonly silences: Readonly<Record<string, readonly number[]>>;
  /** How late a timer of this process fired (ms, p99): what the machine did to everything measured. */
  readonly pace: number;
  readonly verdicts: readonly Verdict[];
}

interface Kill {
  readonly atMs: number;
  readonly partitions: readonly number[];
}

const PROGRESS_MS = 5_000;
const SAMPLE_MS = 1_000;
const STOP_CLIENT_MS = 120_000;
/** Faults that others have put off are made up for so long; then they are left out. */
const GRACE_MS = 60_000;
/** From the last fault until the clients stop: calls must go well again. */
const CALM_MS = 3_000;

export async function runChaos(
  options: ChaosOptions,
  parts: { readonly say: (line: string) => void; readonly signal: AbortSignal },
): Promise<Run> {
  const { say, signal } = parts;
  say(`seed ${options.seed}: starting three nats-servers, three nodes, ${options.clients} clients`);
  await using stage = await Stage.open({ plant: options.plant, signal });
  const transport = await connectChaos(stage.servers.url, "judge");
  try {
    return await new ChaosRun({ ...parts, options, stage, transport }).run();
  } finally {
    await transport.close();
  }
}

interface RunParts {
  readonly options: ChaosOptions;
  readonly stage: Stage;
  readonly transport: NatsTransport;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

class ChaosRun {
  readonly #parts: RunParts;
  readonly #over = sharedAbort();
  readonly #kills: Kill[] = [];
  readonly #tallies = new Map<string, Tally>();
  readonly #client;
  readonly #probes: Probes;
  readonly #records: RecordWatch;
  readonly #pace = new Pace();
  #startedAt = 0;
  #startedMonotonic = 0;
  #maxRss: number | undefined;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#client = actorClient({ transport: parts.transport, clock: systemClock });
    this.#probes = new Probes(this.#client, seededRandom(parts.options.seed), () =>
      this.#elapsed(),
    );
    this.#records = new RecordWatch(parts.transport);
    parts.signal.addEventListener("abort", () => this.#over.abort(), { once: true });
  }

  #elapsed(): number {
    return Math.round(systemClock.monotonic() - this.#startedMonotonic);
  }

  async run(): Promise<Run> {
    const { options, say, signal, stage } = this.#parts;
    const { seed, forMs, only } = options;
    const schedule = decideSchedule({ seed, forMs, only });
    const clients = await this.#startClients();
    this.#startedAt = systemClock.now();
    this.#startedMonotonic = systemClock.monotonic();
    const background = Promise.all([
      this.#probes.run(this.#over.signal),
      this.#records.run(this.#over.signal),
      this.#sample(),
      this.#progress(),
      this.#pace.run(this.#over.signal),
    ]);
    const faults = await injectFaults({
      stage,
      schedule,
      signal,
      untilMs: forMs + GRACE_MS,
      elapsed: () => this.#elapsed(),
      onFault: (fault, victim) => this.#announce(fault, victim),
    });
    await systemClock.sleep(Math.max(CALM_MS, forMs - this.#elapsed()), signal);
    signal.throwIfAborted();
    say("the load ends; everything settles");
    await stage.servers.healthy();
    const findings = await this.#stopClients(clients);
    const evidence = await this.#gather(findings, faults);
    this.#over.abort();
    await background;
    const verdicts = judge({ ...evidence, records: this.#records });
    return {
      options,
      schedule,
      faults,
      tally: addTallies(findings.map((each) => each.tally)),
      takeovers: evidence.takeovers,
      silences: this.#silences(faults),
      pace: this.#pace.lateMs,
      verdicts,
    };
  }

  #startClients(): Promise<Child[]> {
    const { options, stage } = this.#parts;
    return Promise.all(
      Array.from({ length: options.clients }, (_, i) =>
        stage.startClient(`c${i + 1}`, options.seed + i, (tally) =>
          this.#tallies.set(`c${i + 1}`, tally as Tally),
        ),
      ),
    );
  }

  async #stopClients(clients: readonly Child[]): Promise<Findings[]> {
    const findings = await Promise.all(clients.map((client) => client.ask("stop", STOP_CLIENT_MS)));
    return findings as Findings[];
  }

  async #announce(fault: Fault, victim: string): Promise<void> {
    const { say, transport } = this.#parts;
    const how =
      fault.kind === "cut-node" || fault.kind === "isolate-server" ? ` (${fault.how})` : "";
    say(`${seconds(this.#elapsed())}  ${fault.kind} ${victim}${how} for ${seconds(fault.forMs)}`);
    if (fault.kind !== "kill-node") return;
    const owners = await readOwners(transport);
    const partitions = [...owners].filter(([, node]) => node === victim).map(([p]) => p);
    this.#kills.push({ atMs: this.#elapsed(), partitions });
  }

  async #sample(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      for (const { process } of this.#parts.stage.nodes) {
        const rss = process.rss();
        if (rss !== undefined && rss > (this.#maxRss ?? 0)) this.#maxRss = rss;
      }
      await systemClock.sleep(SAMPLE_MS, signal);
    }
  }

  async #progress(): Promise<void> {
    const { signal } = this.#over;
    let before = 0;
    while (!signal.aborted) {
      await systemClock.sleep(PROGRESS_MS, signal);
      const { failed, ok } = totalOf(addTallies([...this.#tallies.values()]));
      const rate = Math.round((ok - before) / (PROGRESS_MS / 1_000));
      before = ok;
      this.#parts.say(
        `${seconds(this.#elapsed())}  ${ok} operations (${rate}/s), ${failed} refused`,
      );
    }
  }

  async #gather(
    findings: readonly Findings[],
    faults: readonly InjectedFault[],
  ): Promise<Evidence> {
    const { stage, transport } = this.#parts;
    const held = await gather({ client: this.#client, transport }, findings);
    const answering = await this.#probes.answering();
    const takeovers = this.#kills.flatMap(({ atMs, partitions }) =>
      partitions.map((partition) => this.#probes.silenceAfter(partition, atMs)),
    );
    return {
      findings,
      held,
      faults,
      takeovers,
      answering,
      probes: this.#probes.operations,
      records: this.#records,
      startedAt: this.#startedAt,
      owners: await readOwners(transport),
      liveNodes: stage.nodes.filter(({ process }) => !process.isOver).map(({ id }) => id),
      maxRss: this.#maxRss,
      isPaced: this.#pace.isKept,
    };
  }

  #silences(faults: readonly InjectedFault[]): Record<string, number[]> {
    const silences: Record<string, number[]> = {};
    for (const { fault, startedMs } of faults) {
      const all = Array.from(
        { length: this.#parts.transport.partitions },
        (_, partition) => this.#probes.silenceAfter(partition, startedMs) ?? Number.NaN,
      );
      silences[fault.kind] = [...(silences[fault.kind] ?? []), Math.max(...all)];
    }
    return silences;
  }
}

export const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
