/** Ends connections over which nothing goes any more, and those of workers that are gone. */
import type { Socket } from "node:net";
import type { Clock } from "../../runtime/clock.ts";

export interface IdleWatchOptions {
  readonly clock: Clock;
  readonly idleMs: number;
  readonly checkMs: number;
  readonly isLive: () => boolean;
}

/** Until `near` closes. One timer at a time. */
export function watchIdle(
  near: Socket,
  far: Socket,
  { clock, idleMs, checkMs, isLive }: IdleWatchOptions,
): void {
  if (near.destroyed) {
    far.destroy();
    return;
  }
  const moved = () => near.bytesRead + near.bytesWritten + far.bytesRead + far.bytesWritten;
  let last = { moved: moved(), at: clock.monotonic() };
  let cancel = () => {};
  const check = () => {
    const now = { moved: moved(), at: clock.monotonic() };
    if (now.moved !== last.moved) last = now;
    if (!isLive() || now.at - last.at >= idleMs) near.resetAndDestroy();
    else cancel = clock.after(checkMs, check);
  };
  cancel = clock.after(checkMs, check);
  near.once("close", () => {
    cancel();
    far.destroy();
  });
}
