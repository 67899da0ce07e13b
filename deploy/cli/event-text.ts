import {
  EVENT_DATA,
  type EventData,
  type EventType,
  type SessionEvent,
} from "../../protocols/events.ts";
import { humaneDuration } from "./humane.ts";
import { oneLine, type Tone } from "./terminal.ts";

/** A piece to print: what the agent said goes to `out`, what it complained of and what we note to `err`. */
export interface Print {
  readonly to: "out" | "err";
  readonly text: string;
  /** Set on our own notes; the agent's text is never touched. */
  readonly tone?: Tone;
}

/** Whether the parts of a message were printed already, so that the whole one is not printed again. */
export interface MessageProgress {
  readonly partsShown: boolean;
}

export const FRESH: MessageProgress = { partsShown: false };

/** What a person sees of an event, and what to remember for the next. Pure. */
export function decidePrint(
  event: SessionEvent,
  progress: MessageProgress,
): { readonly prints: readonly Print[]; readonly progress: MessageProgress } {
  const message = dataOf("agent.message", event);
  if (message !== undefined) return printMessage(message, progress);
  const ended: Print[] = progress.partsShown ? [{ to: "out", text: "\n" }] : [];
  return { prints: [...ended, ...printOther(event)], progress: FRESH };
}

function printMessage(message: EventData<"agent.message">, { partsShown }: MessageProgress) {
  if (message.partial === true) {
    return { prints: [{ to: "out", text: message.text } as const], progress: { partsShown: true } };
  }
  const text = partsShown ? "\n" : `${message.text}\n`;
  return { prints: [{ to: "out", text } as const], progress: FRESH };
}

function printOther(event: SessionEvent): Print[] {
  const output = dataOf("agent.output", event);
  if (output !== undefined) {
    const dropped = output.truncated_bytes;
    const print: Print = { to: output.stream === "stdout" ? "out" : "err", text: output.text };
    if (dropped === undefined) return [print];
    return [print, note("yellow", `output past the job's limit was dropped (${dropped} bytes)`)];
  }
  const said = noteOf(event);
  return said === undefined ? [] : [said];
}

const note = (tone: Tone, text: string): Print => ({ to: "err", text: `${oneLine(text)}\n`, tone });

type Notes = { readonly [T in EventType]?: (data: EventData<T>) => Print | undefined };

const NOTES: Notes = {
  "job.queued": (data) => note("dim", `queued for ${data.agent} (tier ${data.tier})`),
  "job.started": (data) =>
    note("dim", `running on ${data.worker}${data.attempt > 1 ? `, attempt ${data.attempt}` : ""}`),
  "agent.tool": (data) =>
    note(data.is_error === true ? "yellow" : "dim", `tool ${data.name}: ${data.phase}`),
  "job.succeeded": (data) => note("green", `succeeded${usageText(data.usage?.duration_ms)}`),
  "job.failed": (data) =>
    note("red", `failed: ${data.message} (${data.code}${exitText(data.exit_code)})`),
  "job.cancelled": (data) => note("yellow", `cancelled by ${data.by}`),
  "job.timed_out": (data) =>
    note("red", `timed out: its limit is ${humaneDuration(data.limit_ms)}`),
  "job.interrupted": (data) =>
    note("yellow", `interrupted: ${data.reason}${data.will_retry ? "; it is tried again" : ""}`),
  "session.gap": (data) => note("yellow", `events before ${data.oldest} are past their retention`),
};

const usageText = (ms: number | undefined) => (ms === undefined ? "" : ` in ${humaneDuration(ms)}`);
const exitText = (code: number | undefined) => (code === undefined ? "" : `, exit code ${code}`);

function noteOf(event: SessionEvent): Print | undefined {
  const make = NOTES[event.type] as ((data: unknown) => Print | undefined) | undefined;
  const data = EVENT_DATA[event.type].safeParse(event.data);
  return data.success ? make?.(data.data) : undefined;
}

function dataOf<T extends EventType>(type: T, event: SessionEvent): EventData<T> | undefined {
  if (event.type !== type) return undefined;
  return EVENT_DATA[type].safeParse(event.data).data as EventData<T> | undefined;
}
