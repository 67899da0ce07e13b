/** What a job that does not run yet waits for: its place and the start of its worker, as far as its user may know. */
import { type PlaceView, placeOf } from "../protocols/actors/place.ts";
import type { JobWait } from "../protocols/api.ts";
import { START_STEPS, type StartStep, workerRecordSchema } from "../protocols/executor.ts";
import { parseRefName, refName } from "../protocols/ids.ts";
import type { Principal } from "./auth/principal.ts";
import type { Jobs } from "./jobs.ts";
import { parseValue } from "./listing.ts";
import { viewOf } from "./queues.ts";
import type { Services } from "./services.ts";
import { SharedAnswers } from "./shared-answers.ts";

/** For how long a place's word is everybody's: a queue's users all ask the same place. */
const FRESH_MS = 1_000;
/** Starting workers that one look considers: which of a pool's many a job gets is not known. */
const MAX_LOOKED_AT = 8;

/** A worker of the place that is not up. `isWanted`: it has not been let start yet. */
interface Start {
  readonly isWanted: boolean;
  readonly step: StartStep | null;
}

export class Waits {
  readonly #services: Services;
  readonly #jobs: Jobs;
  readonly #places: SharedAnswers<PlaceView | undefined>;

  constructor(services: Services, jobs: Jobs) {
    this.#services = services;
    this.#jobs = jobs;
    this.#places = new SharedAnswers({
      clock: services.clock,
      freshMs: FRESH_MS,
      ask: (name) => viewOf(services, parseRefName(name)),
    });
  }

  /** Rejects with `job.not_found`. */
  async find(principal: Principal, id: string, tenantNamed?: string): Promise<JobWait> {
    const job = await this.#jobs.find(principal, id, tenantNamed);
    const { state } = job;
    if (state !== "queued")
      return { id, state, waits_on: state === "starting" ? "agent" : null, step: null };
    const view = await this.#places.get(refName(placeOf(this.#services.tiers, job)));
    if (view === undefined) return { id, state, waits_on: null, step: null };
    return { id, state, ...decideWait(view, await this.#starts(view)) };
  }

  async #starts({ workers }: PlaceView): Promise<Start[]> {
    const { hosts, transport } = this.#services;
    const ids = workers.filter(({ phase }) => phase === "starting").map(({ worker }) => worker);
    if (ids.length === 0) return [];
    const census = await hosts.read(await hosts.hosts());
    const look = async (id: string): Promise<Start> => {
      const entry = await transport.buckets.get("workers", id);
      const record = entry?.value && parseValue(workerRecordSchema, entry.value);
      return { isWanted: record?.phase === "wanted", step: census.worker(id, null).step };
    };
    return await Promise.all(ids.slice(0, MAX_LOOKED_AT).map(look));
  }
}

/** For a job that is queued. Pure. */
export function decideWait(
  { queued, workers }: Pick<PlaceView, "queued" | "workers">,
  starts: readonly Start[],
): Pick<JobWait, "waits_on" | "step"> {
  // Nothing waits at the place: its user has not offered it yet.
  if (queued === 0) return { waits_on: "turn", step: null };
  const isUp = workers.some(({ phase }) => phase === "idle" || phase === "busy");
  const starting = workers.filter(({ phase }) => phase === "starting").length;
  if (isUp && starting < queued) return { waits_on: "slot", step: null };
  if (starts.length > 0 && starts.every(({ isWanted }) => isWanted))
    return { waits_on: "capacity", step: null };
  const furthest = START_STEPS.findLast((step) => starts.some((start) => start.step === step));
  return { waits_on: "worker", step: furthest ?? null };
}
