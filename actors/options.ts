/** What can be set on the actors; every duration and bound has a default here, with its reason. */
import type { TierTable } from "../protocols/tiers.ts";

export interface ActorOptions {
  readonly tiers: TierTable;
  /** Length of the window that `jobsPerHour` counts in. An hour; tests shorten it. */
  readonly quotaWindowMs: number;
  /** Length of the window that `requestsPerMinute` counts in. A minute; tests shorten it. */
  readonly requestWindowMs: number;
  /** Points that a second of waiting adds to a tier's priority: free (10) passes a new enterprise (100) job after 90 s. */
  readonly agePerSecond: number;
  readonly session: SessionOptions;
  readonly place: PlaceOptions;
  readonly supervisor: SupervisorOptions;
  readonly capacity: CapacityOptions;
}

export interface SessionOptions {
  /** Tries of a job whose workers die before its agent starts. Two: one bad worker is bad luck, two are a pattern. */
  readonly maxAttempts: number;
  /** From the assignment to the first frame: longer than `session.run-attempt` keeps trying. */
  readonly startTimeoutMs: number;
  /** What an executor gets past a job's time limit for killing the process tree and reporting it. */
  readonly overtimeMs: number;
  /** From a cancel to its confirmation: SIGTERM, the executor's grace, SIGKILL, and the report. */
  readonly cancelTimeoutMs: number;
}

export interface PlaceOptions {
  /** Tickets that wait in one place; past it users keep them. Keeps the place's record well under the broker's 1 MiB. */
  readonly maxQueued: number;
  /** How long a user keeps a job that a full place gave back. */
  readonly deferMs: number;
  /** How often a place that is not at rest shrinks, asks again and reports loads. The seed's scaler ran every 10 s. */
  readonly tickMs: number;
  /** How old the loads in the workers' records may be: reporting each job apart would double a job's messages. */
  readonly reportMs: number;
  /** A worker neither ready nor lost after this long is asked for again. */
  readonly askAgainMs: number;
  /** How long `attached` holds when a gateway does not say. */
  readonly attachedForMs: number;
  /** Pause before a place replaces workers that could not start, doubled up to `maxMs`. */
  readonly replaceBackoff: { readonly initialMs: number; readonly maxMs: number };
}

export interface SupervisorOptions {
  /** How often live workers are compared with what their hosts say. */
  readonly sweepMs: number;
  /**
   * How long a worker whose host has no lease, and which does not answer, is kept: longer than an executor without contact
   * takes to end itself and all it started (60 s, and its time to kill).
   */
  readonly hostGraceMs: number;
  /** Starts of one worker before the place is told that it is lost. */
  readonly maxStarts: number;
  readonly startBackoff: { readonly initialMs: number; readonly maxMs: number };
  /** Tries to stop a worker, or remove a workspace, before it is given up with an error in the log. */
  readonly maxStops: number;
  /** Share of one CPU above which an agent's processes count as active; below it is noise of sleeping ones. */
  readonly activeCpuShare: number;
  /** Agents whose fleets are brought up when an enterprise tenant is configured. */
  readonly fleetAgents: readonly string[];
}

export interface CapacityOptions {
  /** Workers of the whole deployment. */
  readonly maxWorkers: number;
  /** Starts at once: a container start is heavy on disk and CPU, and more at once only makes each slower. */
  readonly maxStarts: number;
  /** A start that nobody settled after this long no longer holds others up. */
  readonly startTimeoutMs: number;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

type Settings = {
  readonly [K in keyof ActorOptions]?: ActorOptions[K] extends number
    ? number
    : Partial<ActorOptions[K]>;
};
/** The tier table must be given, the rest may be. */
export type ActorSettings = Omit<Settings, "tiers"> & Pick<ActorOptions, "tiers">;

/** Fills in the defaults. */
export function actorOptions(settings: ActorSettings): ActorOptions {
  return {
    tiers: settings.tiers,
    quotaWindowMs: settings.quotaWindowMs ?? 60 * MINUTE,
    requestWindowMs: settings.requestWindowMs ?? MINUTE,
    agePerSecond: settings.agePerSecond ?? 1,
    session: {
      maxAttempts: 2,
      startTimeoutMs: MINUTE,
      overtimeMs: MINUTE,
      cancelTimeoutMs: MINUTE,
      ...settings.session,
    },
    place: {
      maxQueued: 1_000,
      deferMs: 2 * SECOND,
      tickMs: 10 * SECOND,
      reportMs: SECOND,
      askAgainMs: 2 * MINUTE,
      attachedForMs: 90 * SECOND,
      replaceBackoff: { initialMs: SECOND, maxMs: MINUTE },
      ...settings.place,
    },
    supervisor: {
      sweepMs: 30 * SECOND,
      hostGraceMs: 75 * SECOND,
      maxStarts: 3,
      startBackoff: { initialMs: SECOND, maxMs: 30 * SECOND },
      maxStops: 10,
      activeCpuShare: 0.01,
      fleetAgents: ["shell"],
      ...settings.supervisor,
    },
    capacity: { maxWorkers: 64, maxStarts: 8, startTimeoutMs: 5 * MINUTE, ...settings.capacity },
  };
}
