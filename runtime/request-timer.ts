/** The one timer of a request that waits for its answer: what comes next of sending it again, the late call and the end. */
import type { Clock } from "./clock.ts";
import type { Again, Late } from "./transport.ts";

export interface RequestPlan {
  readonly timeoutMs: number;
  readonly late?: Late | undefined;
  readonly again?: Again | undefined;
  readonly resend: (data: Uint8Array) => void;
  readonly giveUp: () => void;
}

/** Call what it returns when the answer is there. */
export function startRequestTimer(clock: Clock, plan: RequestPlan): () => void {
  const { giveUp, late, timeoutMs } = plan;
  const again = plan.again && resending(plan.again, plan.resend);
  let lateAt = late ? timeoutMs - late.beforeMs : Number.POSITIVE_INFINITY;
  let againAt = again ? again.afterMs : Number.POSITIVE_INFINITY;
  let isOver = false;
  let cancel: () => void;
  const arm = (elapsed: number) => {
    const next = Math.min(lateAt, againAt, timeoutMs);
    cancel = clock.after(Math.ceil(next - elapsed), () => {
      if (next === timeoutMs) {
        isOver = true;
        giveUp();
      } else if (next === lateAt) {
        lateAt = Number.POSITIVE_INFINITY;
        late?.fn();
      } else if (again) {
        againAt += again.sendNow();
      }
      if (!isOver) arm(next);
    });
  };
  arm(0);
  return () => {
    isOver = true;
    cancel();
  };
}

/** `sendNow` gives the time until the next sending. */
function resending({ data, firstMs, maxMs }: Again, resend: RequestPlan["resend"]) {
  let pauseMs = firstMs;
  return {
    afterMs: firstMs,
    sendNow() {
      const bytes = data();
      if (!bytes) return firstMs;
      pauseMs = Math.min(maxMs, pauseMs * 2);
      resend(bytes);
      return pauseMs;
    },
  };
}
