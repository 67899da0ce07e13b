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
  const { again, giveUp, late, resend, timeoutMs } = plan;
  let lateAt = late ? timeoutMs - late.beforeMs : Number.POSITIVE_INFINITY;
  let againAt = again ? again.everyMs : Number.POSITIVE_INFINITY;
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
        againAt += again.everyMs;
        sendAgain(again, resend);
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

function sendAgain({ data }: Again, resend: RequestPlan["resend"]): void {
  const bytes = data();
  if (bytes) resend(bytes);
}
