/**
 * Follows the engine's events for as long as we live. Events are hints, never the truth: what happened while nobody
 * listened is lost, so each time the stream opens everything is looked at.
 */
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import type { ContainerEvent, Engine } from "./engine.ts";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 3_000;

export interface EngineWatchOptions {
  readonly engine: Engine;
  readonly filters: { readonly label: string[] };
  readonly onEvent: (event: ContainerEvent) => void;
  /** The stream is open: what is there now is all there is. */
  readonly onOpen: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Runs until the signal aborts; never rejects. */
export async function watchEngine(options: EngineWatchOptions, signal: AbortSignal): Promise<void> {
  const { clock, engine, filters, log, onEvent } = options;
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    const open = () => {
      pauseMs = FIRST_PAUSE_MS;
      options.onOpen();
    };
    await engine.follow(filters, { open, event: onEvent }, signal).catch((thrown: unknown) => {
      if (!signal.aborted) log.warn({ err: thrown }, "the engine's events cannot be followed");
    });
    if (signal.aborted) return;
    await clock.sleep(pauseMs, signal);
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
  }
}
