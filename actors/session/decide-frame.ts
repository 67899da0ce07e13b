/** What becomes of a frame that an executor sent. */

interface AttemptMark {
  readonly job_id: string;
  readonly attempt: number;
  readonly worker: string | null;
  /** The newest frame journaled. */
  readonly frame: number;
}

export type FrameVerdict =
  /** Journal it. */
  | "apply"
  /** Journaled before: acknowledge again, change nothing. */
  | "had"
  /** An earlier frame is missing: refuse for now, the executor sends from there again. */
  | "early"
  /** Of an attempt that is not, or no longer, the job's: refuse for ever. */
  | "superseded";

/**
 * `current` is the job's running attempt, `ended` the attempts that ended lately: the last frame of one may
 * come again when its acknowledgement was lost.
 */
export function decideFrame(
  frame: {
    readonly job_id: string;
    readonly attempt: number;
    readonly worker: string;
    readonly frame: number;
  },
  current: AttemptMark | undefined,
  ended: readonly AttemptMark[],
): FrameVerdict {
  const same = (mark: AttemptMark) =>
    mark.job_id === frame.job_id && mark.attempt === frame.attempt && mark.worker === frame.worker;
  if (current && same(current)) {
    if (frame.frame <= current.frame) return "had";
    return frame.frame === current.frame + 1 ? "apply" : "early";
  }
  return ended.some((mark) => same(mark) && frame.frame <= mark.frame) ? "had" : "superseded";
}
