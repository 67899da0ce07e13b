/**
 * Events of a session folded into what a person reads: jobs, each with its state and its pieces.
 * Pure: no document, no clock.
 */

/** Characters of one job that are kept for display; the log itself keeps everything. */
export const SHOWN_CHARS = 200_000;

/** Neighbouring output is joined up to about this size, so that a job has hundreds of pieces, not a hundred thousand. */
const PIECE_CHARS = 4_000;

const STATE_OF = {
  "job.queued": "queued",
  "job.starting": "starting",
  "job.started": "running",
  "job.succeeded": "succeeded",
  "job.failed": "failed",
  "job.cancelled": "cancelled",
  "job.timed_out": "timed_out",
};

export const TERMINAL = new Set(["succeeded", "failed", "cancelled", "timed_out", "interrupted"]);

export const emptyTranscript = () => ({ jobs: new Map(), gap: null });

/** Adds one event; returns the job it changed, or `undefined`. */
export function addEvent(transcript, event) {
  if (event.type === "session.gap") {
    transcript.gap = event.data.oldest;
    return undefined;
  }
  if (event.job_id === null) return undefined;
  const job = jobOf(transcript, event);
  job.version += 1;
  if (event.type === "agent.output") addOutput(job, event.data);
  else if (event.type === "agent.message") addMessage(job, event.data);
  else if (event.type === "agent.tool") addTool(job, event.data);
  else addState(job, event);
  return job;
}

function jobOf(transcript, event) {
  let job = transcript.jobs.get(event.job_id);
  if (job === undefined) {
    job = {
      id: event.job_id,
      session: event.session_id,
      state: "queued",
      agent: null,
      prompt: null,
      worker: null,
      wait: null,
      queuedAt: event.time,
      startedAt: null,
      endedAt: null,
      outcome: null,
      pieces: [],
      shown: 0,
      dropped: 0,
      version: 0,
    };
    transcript.jobs.set(event.job_id, job);
  }
  return job;
}

/** The log keeps a prompt's beginning; where it was cut, that shows. */
const PREVIEW_CHARS = 120;
const whole = (preview) => (preview.length < PREVIEW_CHARS ? preview : `${preview}…`);

function addState(job, { type, time, data }) {
  job.state =
    type === "job.interrupted"
      ? data.will_retry
        ? "queued"
        : "interrupted"
      : (STATE_OF[type] ?? job.state);
  if (type === "job.queued") {
    job.agent = data.agent;
    job.prompt = whole(data.prompt_preview);
    job.queuedAt = time;
  }
  if (data.worker) job.worker = data.worker;
  if (type === "job.started") job.startedAt = time;
  if (TERMINAL.has(job.state)) {
    job.endedAt = time;
    job.outcome = outcomeText(type, data);
  }
  if (type === "job.interrupted" && data.will_retry)
    push(job, { kind: "note", text: `Interrupted (${data.reason}); it is tried once more.` });
}

function outcomeText(type, data) {
  switch (type) {
    case "job.succeeded":
      return `exit code ${data.exit_code}`;
    case "job.failed":
      return `${data.message} (${data.code})`;
    case "job.cancelled":
      return `cancelled by ${data.by}`;
    case "job.timed_out":
      return `passed its limit of ${Math.round(data.limit_ms / 1_000)} s`;
    default:
      return data.reason ?? null;
  }
}

function addOutput(job, data) {
  if (data.truncated_bytes)
    push(job, {
      kind: "note",
      text: `${data.truncated_bytes} bytes of output past the limit were dropped.`,
    });
  if (data.text === "") return;
  const last = job.pieces.at(-1);
  if (last?.kind === "output" && last.stream === data.stream && last.text.length < PIECE_CHARS) {
    last.text += data.text;
    last.version += 1;
    keepWithin(job, data.text.length);
  } else {
    push(job, { kind: "output", stream: data.stream, text: data.text });
  }
}

/** Parts of a message grow one piece; the whole message, when it comes, takes its place. */
function addMessage(job, data) {
  const last = job.pieces.at(-1);
  const open =
    last?.kind === "message" && last.partial && last.role === data.role ? last : undefined;
  if (open === undefined) {
    push(job, {
      kind: "message",
      role: data.role,
      text: data.text,
      partial: data.partial === true,
    });
    return;
  }
  const before = open.text.length;
  open.text = data.partial ? open.text + data.text : data.text;
  open.partial = data.partial === true;
  open.version += 1;
  keepWithin(job, open.text.length - before);
}

function addTool(job, data) {
  push(job, {
    kind: "tool",
    name: data.name,
    phase: data.phase,
    isError: data.is_error === true,
    body: data.phase === "call" ? data.input : data.output,
  });
}

function push(job, piece) {
  job.pieces.push({ ...piece, version: 0 });
  keepWithin(job, piece.text?.length ?? 0);
}

function keepWithin(job, grownBy) {
  job.shown += grownBy;
  while (job.shown > SHOWN_CHARS && job.pieces.length > 1) {
    job.shown -= job.pieces.shift().text?.length ?? 0;
    job.dropped += 1;
  }
}

const ESC = String.fromCodePoint(0x1b);
const BEL = String.fromCodePoint(0x07);
const SEQUENCE = new RegExp(
  `${ESC}(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^${BEL}${ESC}]*(?:${BEL}|${ESC}\\\\)|[@-Z\\\\-_])`,
  "g",
);

/** Output as text: colour and cursor sequences of terminals are left out. */
export const plainText = (text) => text.replace(SEQUENCE, "");
