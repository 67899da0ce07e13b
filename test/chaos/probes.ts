/**
 * Adds to a counter of each partition again and again, to see when it answers and when not; and what it answers, for
 * these counters live through the whole run.
 */

import { partitionOf } from "../../protocols/partition.ts";
import type { Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { type Operation, recordHistory } from "../../runtime/testkit/history.ts";
import { Counter } from "./actors.ts";
import { PARTITIONS, sharedClock, TENANT } from "./connection.ts";
import type { Random } from "./random.ts";

interface Answer {
  /** When the ask was sent and when its answer came, in ms from the start of the load. */
  readonly askedMs: number;
  readonly answeredMs: number;
}

const PAUSE_MS = 100;
/** Distinct enough that a sum tells which calls are in it. */
const MAX_AMOUNT = 1_000_000;
const TIMEOUT_MS = 1_000;
const PATIENCE_MS = 10_000;

export class Probes {
  readonly #client: Client;
  readonly #elapsed: () => number;
  readonly #random: Random;
  readonly #history = recordHistory(sharedClock);
  readonly #answers: Answer[][] = Array.from({ length: PARTITIONS }, () => []);

  constructor(client: Client, random: Random, elapsed: () => number) {
    this.#client = client;
    this.#random = random;
    this.#elapsed = elapsed;
  }

  /** Of the counters, under `probe:`. */
  get operations(): readonly Operation[] {
    return this.#history.operations;
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(
      this.#answers.map((answers, partition) => this.#probe(partition, answers, signal)),
    );
  }

  async #probe(partition: number, answers: Answer[], signal: AbortSignal): Promise<void> {
    let isSilent = false;
    while (!signal.aborted) {
      const askedMs = this.#elapsed();
      try {
        // While it is silent it is read: additions of unknown fate would make the judge's search endless.
        await (isSilent ? this.#read(partition, TIMEOUT_MS) : this.#add(partition, TIMEOUT_MS));
        isSilent = false;
        answers.push({ askedMs, answeredMs: this.#elapsed() });
      } catch {
        isSilent = true;
      }
      await systemClock.sleep(PAUSE_MS, signal);
    }
  }

  #add(partition: number, timeoutMs: number): Promise<unknown> {
    const counter = this.#client.actor(Counter, TENANT, keyIn(partition));
    const n = this.#random.int(1, MAX_AMOUNT);
    const call = { client: "judge", key: `probe:${partition}`, op: "add", input: n };
    return this.#history.run(call, async () => (await counter.add({ n }, { timeoutMs })).total);
  }

  #read(partition: number, timeoutMs: number): Promise<unknown> {
    const counter = this.#client.actor(Counter, TENANT, keyIn(partition));
    const call = { client: "judge", key: `probe:${partition}`, op: "read", input: null };
    return this.#history.run(call, async () => (await counter.read({}, { timeoutMs })).total);
  }

  /** From then to the first answer to an ask sent after it; undefined when none came. */
  silenceAfter(partition: number, ms: number): number | undefined {
    const answer = this.#answers[partition]?.find(({ askedMs }) => askedMs >= ms);
    return answer && answer.answeredMs - ms;
  }

  /** Partitions whose actor answers now. */
  async answering(): Promise<number[]> {
    const asked = Array.from({ length: PARTITIONS }, async (_, partition) => {
      await this.#add(partition, PATIENCE_MS);
      return partition;
    });
    const settled = await Promise.allSettled(asked);
    return settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  }
}

function keyIn(partition: number): string {
  for (let n = 0; ; n += 1) {
    const key = `probe-${n}`;
    if (partitionOf({ kind: Counter.kind, tenant: TENANT, key }, PARTITIONS) === partition)
      return key;
  }
}
