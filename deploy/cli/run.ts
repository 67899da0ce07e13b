/**
 * `berth run`: submits a job and streams it. Ctrl-C detaches, a second one soon after cancels, a third
 * leaves at once: the job belongs to the service, not to this terminal.
 */
import type { Command } from "commander";
import { type AcceptedJob, type CreateJob, cancelledJobSchema } from "../../protocols/api.ts";
import { parseDuration } from "../../protocols/duration.ts";
import { BerthError } from "../../protocols/errors.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { EXIT, exitCodeOfJob } from "./exit-codes.ts";
import { follow } from "./follow.ts";
import type { Gateway } from "./gateway.ts";
import type { JobEnd } from "./job-end.ts";
import { submitJob } from "./submit.ts";

/** How long after the first Ctrl-C a second one still cancels. */
const DETACH_WINDOW_MS = 3_000;

interface RunOptions extends ConnectionOptions {
  readonly agent: string;
  readonly session?: string;
  readonly model?: string;
  readonly credential?: string[];
  readonly timeout?: string;
}

export function runCommand(context: CliContext): Command {
  return gatewayCommand("run", "run a prompt (or script) and stream what it says")
    .argument("<prompt>", 'what to run; "-" reads it from standard input')
    .option("--agent <agent>", 'which agent; "berth agents" lists them', "shell")
    .option("--session <id>", "go on in this session")
    .option("--model <model>", "the agent's model")
    .option("--credential <provider...>", "give the agent this stored key of yours, too")
    .option("--timeout <duration>", 'time limit, such as "90s" or "10m"')
    .action(
      action(context, (prompt: string, options: RunOptions) => run(context, prompt, options)),
    );
}

async function run(context: CliContext, prompt: string, options: RunOptions): Promise<number> {
  if (prompt === "-" && options.keyStdin === true) {
    throw new BerthError(
      "config.invalid",
      "standard input cannot hold both the key and the prompt",
    );
  }
  const job = jobOf(prompt === "-" ? await context.readStdin() : prompt, options);
  const gateway = await connect(context, options, "pro");
  const interrupts = watchInterrupts(context);
  try {
    const accepted = await submitJob(gateway, job);
    return await stream({ context, gateway, accepted, interrupts, json: options.json === true });
  } finally {
    interrupts.stop();
  }
}

function jobOf(prompt: string, options: RunOptions): CreateJob {
  if (prompt.trim() === "") throw new BerthError("config.invalid", "the prompt is empty");
  return {
    agent: options.agent,
    prompt,
    ...(options.session === undefined ? {} : { session_id: options.session }),
    ...(options.model === undefined ? {} : { model: options.model }),
    ...(options.credential === undefined ? {} : { credentials: options.credential }),
    ...(options.timeout === undefined ? {} : { timeout_ms: parseDuration(options.timeout) }),
  };
}

interface Interrupts {
  readonly detach: AbortSignal;
  readonly cancel: AbortSignal;
  readonly leave: AbortSignal;
  stop(): void;
}

/** The first Ctrl-C detaches, the second cancels, the third leaves; SIGTERM detaches and leaves. */
export function watchInterrupts(context: Pick<CliContext, "onInterrupt">): Interrupts {
  const detach = new AbortController();
  const cancel = new AbortController();
  const leave = new AbortController();
  const stop = context.onInterrupt((signal) => {
    if (signal === "SIGTERM" || cancel.signal.aborted) leave.abort();
    else if (detach.signal.aborted) cancel.abort();
    detach.abort();
  });
  return { detach: detach.signal, cancel: cancel.signal, leave: leave.signal, stop };
}

interface StreamOptions {
  readonly context: CliContext;
  readonly gateway: Gateway;
  readonly accepted: AcceptedJob;
  readonly interrupts: Interrupts;
  readonly json: boolean;
}

async function stream({
  context,
  gateway,
  accepted,
  interrupts,
  json,
}: StreamOptions): Promise<number> {
  const { terminal, clock } = context;
  const { id } = accepted;
  let cursor: number | undefined;
  const read = async (signal: AbortSignal): Promise<JobEnd | undefined> => {
    const onRetry = (error: BerthError) => {
      void terminal.err(terminal.paint("dim", `· ${error.message}; trying again\n`));
    };
    const events = gateway.events(`/v1/jobs/${id}/events`, { after: cursor, signal, onRetry });
    const followed = await follow({ events, terminal, json, jobId: id });
    cursor = followed.cursor ?? cursor;
    return followed.end;
  };

  const end = await read(interrupts.detach);
  if (end !== undefined) return exitCodeOfJob(end.state, end.exitCode);

  await terminal.err(
    `\nDetached from ${id}, which goes on. See it again: berth logs -f ${id} --after ${cursor ?? 0}\n`,
  );
  if (interrupts.leave.aborted) return EXIT.interrupted;
  await terminal.err("Press Ctrl-C again to cancel the job.\n");
  await clock.sleep(DETACH_WINDOW_MS, AbortSignal.any([interrupts.cancel, interrupts.leave]));
  if (!interrupts.cancel.aborted || interrupts.leave.aborted) return EXIT.interrupted;

  await terminal.err(`Cancelling ${id}...\n`);
  await gateway.send({ method: "POST", path: `/v1/jobs/${id}/cancel`, schema: cancelledJobSchema });
  const last = await read(interrupts.leave);
  return last === undefined ? EXIT.interrupted : exitCodeOfJob(last.state, last.exitCode);
}
