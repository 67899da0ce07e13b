/** How many workers a place adds or lets go. */

export interface Load {
  /** Waiting jobs, counted in workers that they would fill. */
  readonly queue: number;
  readonly idle: number;
  /** Workers on their way: they count as idle for growth, or each turn would ask for the same ones again. */
  readonly starting: number;
  /** All workers that are not on their way out. */
  readonly count: number;
  /** Workers on their way out: they still hold resources. */
  readonly draining: number;
}

export interface ScalingLimits {
  readonly min: number;
  readonly max: number;
}

/**
 * A positive number is workers to add, a negative one idle workers to let go. Grows when the queue is deeper
 * than twice the idle workers; shrinks when idle workers exceed the minimum and the queue is under half of
 * them. Always at least the minimum, never above the maximum.
 */
export function decideScaling(load: Load, { min, max }: ScalingLimits): number {
  const room = Math.max(0, max - load.count - load.draining);
  const missing = Math.max(0, min - load.count);
  const coming = load.idle + load.starting;
  const wanted = load.queue > 2 * coming ? load.queue - coming : 0;
  const grow = Math.min(Math.max(missing, wanted), room);
  if (grow > 0) return grow;
  const shrinks = load.idle > min && load.queue < load.idle / 2;
  if (!shrinks) return 0;
  return -Math.min(load.idle - min, load.idle - load.queue);
}
