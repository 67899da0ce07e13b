/** Load on one side: a fixed number in flight, or a fixed rate. */
import type { Sample, Stretch } from "./scenario.ts";

/** `lane` is the place in flight, from 0; `nth` counts within it. */
export type Call = (lane: number, nth: number) => Promise<void>;

/** Keeps `inFlight` calls open until the time is over; what is open then still counts. */
export async function keepInFlight(
  { ms, signal }: Stretch,
  inFlight: number,
  call: Call,
): Promise<Sample> {
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  const lane = async (number: number) => {
    for (let nth = 0; performance.now() - startedAt < ms && !signal.aborted; nth += 1) {
      const calledAt = performance.now();
      await call(number, nth);
      latenciesMs.push(performance.now() - calledAt);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, number) => lane(number)));
  signal.throwIfAborted();
  return { count: latenciesMs.length, elapsedMs: performance.now() - startedAt, latenciesMs };
}

/**
 * Begins a call at each tick of a fixed rate, whether the last has ended or not. At most `lanes` are open; a call that
 * had to wait for a free one counts from its tick, so that a stall is charged for every call that it delayed.
 */
export async function keepRate(
  { ms, signal }: Stretch,
  load: { readonly perSecond: number; readonly lanes: number },
  call: Call,
): Promise<Sample> {
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  const ticks = Math.max(1, Math.floor((ms * load.perSecond) / 1_000));
  let next = 0;
  const lane = async (number: number) => {
    for (let nth = 0; next < ticks && !signal.aborted; nth += 1) {
      const dueAt = startedAt + (next * 1_000) / load.perSecond;
      next += 1;
      const isFree = performance.now() <= dueAt;
      await until(dueAt, signal);
      const calledAt = isFree ? performance.now() : dueAt;
      await call(number, nth);
      latenciesMs.push(performance.now() - calledAt);
    }
  };
  await Promise.all(Array.from({ length: load.lanes }, (_, number) => lane(number)));
  signal.throwIfAborted();
  return { count: latenciesMs.length, elapsedMs: performance.now() - startedAt, latenciesMs };
}

function until(at: number, signal: AbortSignal): Promise<void> {
  const ms = at - performance.now();
  if (ms <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}

/** `work`, or an error that says what did not come in time. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
