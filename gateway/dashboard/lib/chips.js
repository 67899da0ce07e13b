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
    phase,
  );
}

export function tierChip(tier) {
  return h("span", { class: "chip plain" }, tier);
}
