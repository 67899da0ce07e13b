/** One order to the executor of a worker, on its down subject. */
import { BerthError, errorFromWire, isErrorCode } from "../../protocols/errors.ts";
import { type DownRequest, downReplySchema, type WorkerStatus } from "../../protocols/executor.ts";
import { subjects } from "../../protocols/subjects.ts";
import { pack, unpack } from "../../runtime/ask-codec.ts";
import { persist } from "./persist.ts";
import type { ToolOptions } from "./tool-options.ts";

const REPLY_TIMEOUT_MS = 3_000;
const DEFAULT_WINDOW_MS = 10_000;

/** Failures that a pause may heal: the executor connects again, or is about to free the slot. */
const PASSING = new Set(["actor.moved", "ask.timeout", "broker.unavailable", "worker.busy"]);

/**
 * Sends the order until the executor answers, for a bounded time; executors take an order twice without harm.
 * A worker that nobody answers for is `worker.lost`.
 */
export async function orderWorker(
  options: ToolOptions,
  worker: string,
  request: DownRequest,
  signal: AbortSignal,
): Promise<void> {
  await ask(options, worker, request, signal);
}

/** As `orderWorker`: what the worker says of itself. */
export async function statusOf(
  options: ToolOptions,
  worker: string,
  signal: AbortSignal,
): Promise<Partial<WorkerStatus>> {
  return (await ask(options, worker, { type: "status" }, signal)) ?? {};
}

async function ask(
  { bus, clock, orderWindowMs = DEFAULT_WINDOW_MS }: ToolOptions,
  worker: string,
  request: DownRequest,
  signal: AbortSignal,
): Promise<WorkerStatus | undefined> {
  const data = pack(request);
  const mayRetry = ({ code }: BerthError) => PASSING.has(code);
  try {
    return await persist(() => send(bus, worker, data), {
      clock,
      windowMs: orderWindowMs,
      signal,
      mayRetry,
    });
  } catch (thrown) {
    if (!(thrown instanceof BerthError) || thrown.code !== "actor.moved") throw thrown;
    throw new BerthError("worker.lost", `worker ${worker} does not answer`, { cause: thrown });
  }
}

async function send(
  bus: ToolOptions["bus"],
  worker: string,
  data: Uint8Array,
): Promise<WorkerStatus | undefined> {
  const answer = await bus.request(subjects.down(worker), data, REPLY_TIMEOUT_MS);
  const reply = downReplySchema.parse(unpack(answer));
  if (reply.ok) return reply.status;
  const { code, message } = reply.error;
  throw errorFromWire({ code: isErrorCode(code) ? code : "internal.unexpected", message });
}
