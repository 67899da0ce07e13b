/**
 * What does a job cost from its submission to the event of its end, all of it durable: accepted, queued, dispatched to
 * a worker, run by an agent that does nothing, completed?
 */
import { Queue, QueueEvents } from "bullmq";
import { ulid } from "ulid";
import { User } from "../../protocols/actors/user.ts";
import { endsJob, type SessionEvent } from "../../protocols/events.ts";
import { subjects } from "../../protocols/subjects.ts";
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { BENCH_TENANT, IN_FLIGHT, PAYLOAD } from "../bench-actor.ts";
import { startBerth } from "../berth.ts";
import { startChild } from "../child.ts";
import { connectBerth } from "../connection.ts";
import { keepInFlight, keepRate, within } from "../load.ts";
import { startRedis } from "../peers/redis.ts";
import type { Bench, Comparison, Measure, RowSpec, Scenario } from "../scenario.ts";

const JOB_MS = 30_000;
const QUEUE = "bench";
/** Jobs a second at which neither side is near its limit. */
const MODERATE = 50;

/** Submits one job of a lane's user and resolves when its end was heard of. */
type RunJob = (lane: number) => Promise<void>;

/** Ends that are waited for, by job. */
class Ends {
  readonly #waiting = new Map<string, () => void>();

  of(job: string): Promise<void> {
    const end = new Promise<void>((resolve) => this.#waiting.set(job, resolve));
    return within(JOB_MS, `job ${job}`, end).finally(() => this.#waiting.delete(job));
  }

  heard(job: string): void {
    this.#waiting.get(job)?.();
  }
}

/** One user with one session per lane, over the actor client; ends come on the sessions' live subject. */
async function berthJobs(bench: Bench): Promise<RunJob> {
  const { nats_url, nats_creds } = await startBerth(bench, IN_FLIGHT);
  const transport = await connectBerth(nats_url, "bench-client", nats_creds);
  bench.undo(() => transport.close());
  const client = actorClient({ transport, clock: systemClock });
  const ends = new Ends();
  const anySession = subjects.live({ tenant: BENCH_TENANT, kind: "session", key: "*" });
  const decoder = new TextDecoder();
  const live = transport.bus.serve(anySession, undefined, ({ data }) => {
    const { events = [] } = JSON.parse(decoder.decode(data)) as { events?: SessionEvent[] };
    for (const event of events) if (endsJob(event) && event.job_id) ends.heard(event.job_id);
  });
  await live.ready;
  const born = new Set<number>();
  const sessions = Array.from({ length: IN_FLIGHT }, () => `ses_${ulid()}`);
  return async (lane) => {
    const id = `job_${ulid()}`;
    const job = {
      id,
      session_id: sessions[lane] ?? "",
      agent: "echo",
      tier: "free" as const,
      prompt: PAYLOAD,
      timeout_ms: JOB_MS,
    };
    const ended = ends.of(id);
    const birth = born.has(lane) ? {} : { new_session: {} };
    await client
      .actor(User, BENCH_TENANT, `user-${lane}`)
      .submit({ job, ...birth }, { timeoutMs: JOB_MS });
    born.add(lane);
    await ended;
  };
}

async function bullmqJobs(bench: Bench): Promise<RunJob | undefined> {
  const connection = await startRedis(bench);
  if (!connection) return undefined;
  await startChild(bench, "bullmq-worker", { connection, queue: QUEUE, concurrency: IN_FLIGHT });
  const queue = new Queue<{ prompt: string }>(QUEUE, { connection });
  bench.undo(() => queue.close());
  const events = new QueueEvents(QUEUE, { connection });
  bench.undo(() => events.close());
  const ends = new Ends();
  events.on("completed", ({ jobId }) => ends.heard(jobId));
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
  return async () => {
    const jobId = `job_${ulid()}`;
    const ended = ends.of(jobId);
    await queue.add("echo", { prompt: PAYLOAD }, { jobId });
    await ended;
  };
}

async function open(bench: Bench): Promise<readonly Comparison[]> {
  const ours = await berthJobs(bench);
  const peer = await bullmqJobs(bench);
  const compare = (
    name: string,
    measure: (run: RunJob) => Measure,
    rows: readonly RowSpec[],
  ): Comparison => ({
    name,
    peerName: peer ? "BullMQ on Redis, append-only file" : "redis-server is not installed",
    ours: measure(ours),
    peer: peer && measure(peer),
    rows,
  });
  return [
    compare("jobs", (run) => (stretch) => keepInFlight(stretch, IN_FLIGHT, run), [
      { label: `${IN_FLIGHT} in flight`, metric: "rate", goal: { atLeast: 1 } },
      { label: "p50", metric: "p50", goal: { atMost: 1 } },
      { label: "p99", metric: "p99", goal: { atMost: 1 } },
    ]),
    compare(
      `jobs, ${MODERATE}/s`,
      (run) => (stretch) => keepRate(stretch, { perSecond: MODERATE, lanes: IN_FLIGHT }, run),
      [
        { label: "p50", metric: "p50", goal: { atMost: 1 } },
        { label: "p99", metric: "p99", goal: { atMost: 1 } },
      ],
    ),
  ];
}

export const jobs: Scenario = {
  name: "jobs",
  question: "a job from its submission to the event of its end, all of it durable",
  open,
};
