/** Which of a user's waiting jobs go to their places now. */

export interface QueuedJob {
  readonly session: string;
}

/**
 * Takes jobs from the head of `waiting` while `mayRun` of the running count says so. A session is a
 * conversation: while one of its jobs runs, its others wait, and jobs of other sessions pass them.
 */
export function decideNext<T extends QueuedJob>(
  waiting: readonly T[],
  running: readonly QueuedJob[],
  mayRun: (job: T, running: number) => boolean,
): T[] {
  const busy = new Set(running.map((job) => job.session));
  const next: T[] = [];
  for (const job of waiting) {
    if (!mayRun(job, running.length + next.length)) break;
    if (busy.has(job.session)) continue;
    busy.add(job.session);
    next.push(job);
  }
  return next;
}
