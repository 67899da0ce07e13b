import { h } from "./dom.js";

const JOB_TONE = {
  queued: "warn",
  starting: "info",
  running: "info",
  succeeded: "good",
  failed: "bad",
  cancelled: undefined,
  timed_out: "bad",
  interrupted: "bad",
};

const WORKER_TONE = {
  wanted: "warn",
  starting: "info",
  idle: "good",
  busy: "info",
  draining: "warn",
  stopping: "warn",
  lost: "bad",
};

/** In the order in which a start goes through them. */
const STEPS = ["claiming", "creating", "starting", "connecting"];

const WORKER_TEXT = { wanted: "waits for capacity" };

const LIVE = new Set(["starting", "running", "busy"]);

export const jobTone = (state) => JOB_TONE[state];

export function jobChip(state) {
  return h(
    "span",
    {
      class: "chip",
      "data-state": state,
      "data-tone": JOB_TONE[state],
      "data-live": String(LIVE.has(state)),
    },
    state.replace("_", " "),
  );
}

export function workerChip(phase) {
  return h(
    "span",
    {
      class: "chip",
      "data-phase": phase,
      "data-tone": WORKER_TONE[phase],
      "data-live": String(LIVE.has(phase)),
    },
    WORKER_TEXT[phase] ?? phase,
  );
}

/** How far a start is, of its four steps. */
export function stepTrail(step) {
  const reached = STEPS.indexOf(step);
  return h(
    "span",
    { class: "trail", "data-step": step, title: `step ${reached + 1} of ${STEPS.length}` },
    STEPS.map((_, at) => h("i", { "data-reached": String(at <= reached) })),
    step,
  );
}

export function tierChip(tier) {
  return h("span", { class: "chip plain" }, tier);
}
