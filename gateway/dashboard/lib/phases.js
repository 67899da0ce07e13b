/** What a job goes through before its agent runs, as a list that a person reads. Pure. */

/** Of the worker's start. */
export const STEP_TEXT = {
  claiming: "taking one that is warm",
  creating: "creating its container",
  starting: "starting its container",
  connecting: "waiting for its first word",
};

const WAIT_TEXT = {
  turn: "for an earlier job to end",
  slot: "for a worker that is in use",
  capacity: "for room for one more worker",
};

/** `{ name, at: "done" | "now" | "next", text? }` for each phase; nothing once the agent runs. */
export function phasesOf({ state, wait }) {
  if (state === "queued") {
    const { waits_on: reason, step } = wait ?? {};
    if (reason !== "worker")
      return phases(0, reason in WAIT_TEXT ? `waits ${WAIT_TEXT[reason]}` : undefined);
    return phases(1, step ? STEP_TEXT[step] : "is about to start");
  }
  return state === "starting" ? phases(2, "starts") : [];
}

const NAMES = ["Queued", "Worker", "Agent"];

const phases = (now, text) =>
  NAMES.map((name, at) => ({
    name,
    at: at < now ? "done" : at === now ? "now" : "next",
    text: at === now ? text : undefined,
  }));
