import { describe, expect, test } from "vitest";
import { decidePrint, FRESH } from "../../../deploy/cli/event-text.ts";
import { follow } from "../../../deploy/cli/follow.ts";
import { endOf } from "../../../deploy/cli/job-end.ts";
import { watchInterrupts } from "../../../deploy/cli/run.ts";
import type { EventType, SessionEvent } from "../../../protocols/events.ts";
import { interruptsDouble, terminalDouble } from "./terminal-double.ts";

let seq = 0;
function event(type: EventType, data: Record<string, unknown>, jobId = "job_1"): SessionEvent {
  seq += 1;
  const time = "2026-01-01T00:00:00.000Z";
  return { id: `evt_${seq}`, seq, type, time, session_id: "ses_1", job_id: jobId, data };
}

const output = (stream: "stdout" | "stderr", text: string) =>
  event("agent.output", { stream, text, offset: 0 });
const message = (text: string, partial?: boolean) =>
  event("agent.message", { role: "assistant", text, ...(partial === true ? { partial } : {}) });
const succeeded = (jobId?: string) => event("job.succeeded", { exit_code: 0 }, jobId);

async function printed(events: SessionEvent[], json = false) {
  const { terminal, stdout, stderr } = terminalDouble();
  const followed = await follow({ events, terminal, json, jobId: "job_1" });
  return { followed, out: stdout.text, err: stderr.text };
}

describe("following a job", () => {
  test("stdout goes to stdout and stderr to stderr, byte for byte", async () => {
    const { out, err } = await printed([output("stdout", "a\u001b[1m"), output("stderr", "b")]);
    expect(out).toBe("a\u001b[1m");
    expect(err).toBe("b");
  });

  test("ends with its own job, not with another of the session", async () => {
    const end = succeeded();
    const { followed } = await printed([succeeded("job_2"), end, output("stdout", "late")]);
    expect(followed).toEqual({ cursor: end.seq, end: { state: "succeeded", exitCode: 0 } });
  });

  test("goes on over an interruption that is tried again", () => {
    expect(endOf(event("job.interrupted", { reason: "lost", will_retry: true }))).toBeUndefined();
    expect(endOf(event("job.interrupted", { reason: "lost", will_retry: false }))?.state).toBe(
      "interrupted",
    );
  });

  test("as JSON prints each event as one line and nothing else", async () => {
    const events = [output("stdout", "two\nlines"), succeeded()];
    const { out, err } = await printed(events, true);
    expect(
      out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(events);
    expect(err).toBe("");
  });
});

describe("an agent's message", () => {
  test("that came in parts is not printed again when it is whole", async () => {
    const { out } = await printed([message("Hel", true), message("lo", true), message("Hello")]);
    expect(out).toBe("Hello\n");
  });

  test("that came whole is printed with a line's end", async () => {
    expect((await printed([message("Hello")])).out).toBe("Hello\n");
  });

  test("whose parts were broken off does not run into what follows", async () => {
    const { out } = await printed([message("Hel", true), output("stdout", "x")]);
    expect(out).toBe("Hel\nx");
  });
});

describe("notes beside the output", () => {
  test("a failure says message, code and exit code", () => {
    const failed = event("job.failed", { code: "agent.failed", message: "it broke", exit_code: 7 });
    expect(decidePrint(failed, FRESH).prints).toEqual([
      { to: "err", tone: "red", text: "failed: it broke (agent.failed, exit code 7)\n" },
    ]);
  });

  test("data of a later version that we cannot read is passed over", () => {
    expect(decidePrint(event("job.cancelled", { unknown: 1 }), FRESH).prints).toEqual([]);
  });
});

describe("Ctrl-C", () => {
  test("detaches first, cancels second, leaves third", () => {
    const keys = interruptsDouble();
    const { detach, cancel, leave } = watchInterrupts(keys);
    const seen = () => [detach.aborted, cancel.aborted, leave.aborted];
    keys.press("SIGINT");
    expect(seen()).toEqual([true, false, false]);
    keys.press("SIGINT");
    expect(seen()).toEqual([true, true, false]);
    keys.press("SIGINT");
    expect(seen()).toEqual([true, true, true]);
  });

  test("SIGTERM leaves at once and does not cancel the job", () => {
    const keys = interruptsDouble();
    const { detach, cancel, leave } = watchInterrupts(keys);
    keys.press("SIGTERM");
    expect([detach.aborted, cancel.aborted, leave.aborted]).toEqual([true, false, true]);
  });
});
