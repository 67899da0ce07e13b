/** Clients that ask and tell probe actors without pause, remember what was promised to them, and how long it took. */
import { expect } from "vitest";
import { asBerthError } from "../../protocols/errors.ts";
import type { Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { Probe } from "./actors.ts";
import { eventually } from "./eventually.ts";

interface Failure {
  readonly key: string;
  readonly op: "ask" | "tell";
  readonly code: string;
  readonly message: string;
}

export interface ProbeLoad {
  /** Answered adds, by key. */
  readonly added: ReadonlyMap<string, number>;
  /** Texts whose tell was acknowledged, by key. */
  readonly told: ReadonlyMap<string, readonly string[]>;
  readonly failures: readonly Failure[];
  /** Milliseconds that each answered ask took. */
  readonly latencies: number[];
  /** Resolves when every key was answered once more after the call. */
  answered(): Promise<void>;
  stop(): Promise<void>;
  /** Fails unless each answered add counts once, no other more than once, and each tell was heard once and in order. */
  expectKept(): Promise<void>;
}

export interface ProbeLoadOptions {
  readonly keys?: number;
  /** Of the keys: loads of different ones do not meet (default "load"). */
  readonly prefix?: string;
  readonly askTimeoutMs?: number;
  /** Between two messages of one client; keeps the load a load and not a stress test. */
  readonly pauseMs?: number;
  /** Every n-th tell runs a tool. 0: none does. */
  readonly runEvery?: number;
}

const TELL_TIMEOUT_MS = 30_000;

export function probeLoad(client: Client, options: ProbeLoadOptions = {}): ProbeLoad {
  const { askTimeoutMs = 10_000, keys: count = 12, pauseMs = 5, runEvery = 0 } = options;
  const { prefix = "load" } = options;
  const keys = Array.from({ length: count }, (_, n) => `${prefix}-${n}`);
  const added = new Map(keys.map((key) => [key, 0]));
  const told = new Map<string, string[]>(keys.map((key) => [key, []]));
  const ran = new Map(keys.map((key) => [key, 0]));
  const failures: Failure[] = [];
  const latencies: number[] = [];
  const stopping = new AbortController();
  const at = (key: string) => client.actor(Probe, "acme", key);
  const failed = (key: string, op: Failure["op"]) => (thrown: unknown) => {
    const { code, message } = asBerthError(thrown);
    failures.push({ key, op, code, message });
  };

  const add = async (key: string) => {
    while (!stopping.signal.aborted) {
      const startedAt = performance.now();
      await at(key)
        .add({ n: 1 }, { timeoutMs: askTimeoutMs })
        .then(
          () => {
            added.set(key, (added.get(key) ?? 0) + 1);
            latencies.push(performance.now() - startedAt);
          },
          failed(key, "ask"),
        );
      await systemClock.sleep(pauseMs);
    }
  };
  const tell = async (key: string) => {
    for (let n = 0; !stopping.signal.aborted; n += 1) {
      const text = `${n}`;
      const call = { timeoutMs: TELL_TIMEOUT_MS, id: `tell-${key}-${n}` };
      await at(key)
        .hear({ text }, call)
        .then(() => told.get(key)?.push(text), failed(key, "tell"));
      if (runEvery > 0 && n % runEvery === 0) {
        await at(key).run({ n: 1 }, { timeoutMs: TELL_TIMEOUT_MS, id: `run-${key}-${n}` });
        ran.set(key, (ran.get(key) ?? 0) + 1);
      }
      await systemClock.sleep(pauseMs);
    }
  };
  const running = Promise.all(keys.flatMap((key) => [add(key), tell(key)]));

  return {
    added,
    told,
    failures,
    latencies,
    async answered() {
      const before = new Map(added);
      await eventually(() => keys.every((key) => (added.get(key) ?? 0) > (before.get(key) ?? 0)), {
        within: 60_000,
        name: "every actor answers",
      });
    },
    async stop() {
      stopping.abort();
      await running;
    },
    async expectKept() {
      for (const key of keys) {
        const texts = told.get(key) ?? [];
        const unknown = failures.filter((f) => f.key === key && f.op === "ask").length;
        const read = () => at(key).read({}, { timeoutMs: 20_000 });
        await eventually(
          async () => {
            const { heard, results } = await read();
            return heard.length >= texts.length && results.length >= (ran.get(key) ?? 0);
          },
          { within: 30_000, name: `${key} has heard all` },
        );
        const { heard, results, total } = await read();
        expect(heard).toEqual(texts);
        expect(results).toHaveLength(ran.get(key) ?? 0);
        expect(total).toBeGreaterThanOrEqual(added.get(key) ?? 0);
        expect(total).toBeLessThanOrEqual((added.get(key) ?? 0) + unknown);
      }
    },
  };
}

export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
