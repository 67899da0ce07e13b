import type { Command } from "commander";
import { type ApiJob, type JobWait, jobSchema, jobWaitSchema } from "../../protocols/api.ts";
import { isTerminal } from "../../protocols/job.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  tenantCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { humaneAgo, humaneDuration } from "./humane.ts";
import { tookText } from "./jobs.ts";
import { oneLine } from "./terminal.ts";
import { paintState } from "./tones.ts";

export function jobCommand(context: CliContext): Command {
  return tenantCommand("job", "show one job")
    .argument("<id>", "the job")
    .action(
      action(context, async (id: string, options: ConnectionOptions) => {
        const gateway = await connect(context, options, "pro");
        const query = { tenant: options.tenant };
        const path = `/v1/jobs/${encodeURIComponent(id)}`;
        const job = await gateway.get(path, jobSchema, query);
        if (options.json === true) {
          await context.terminal.out(`${JSON.stringify(job)}\n`);
          return EXIT.ok;
        }
        const hasBegun = isTerminal(job.state) || job.state === "running";
        const wait = hasBegun ? undefined : await gateway.get(`${path}/wait`, jobWaitSchema, query);
        await context.terminal.out(describe(job, wait, context));
        return EXIT.ok;
      }),
    );
}

const WAITS: Readonly<Record<NonNullable<JobWait["waits_on"]>, string>> = {
  turn: "an earlier job of its user",
  slot: "a worker that is in use",
  capacity: "room for one more worker",
  worker: "its worker to start",
  agent: "its agent to start",
};

export function waitText({ step, waits_on }: JobWait): string | null {
  if (waits_on === null) return null;
  return step === null ? WAITS[waits_on] : `${WAITS[waits_on]} (${step})`;
}

function describe(job: ApiJob, wait: JobWait | undefined, { terminal, clock }: CliContext): string {
  const now = clock.now();
  const facts: readonly (readonly [string, string | null | undefined])[] = [
    ["Job", job.id],
    ["State", paintState(terminal, job.state)],
    ["Waits for", wait && waitText(wait)],
    ["Session", job.session_id],
    ["Owner", `${job.tenant} / ${job.user} (${job.tier})`],
    ["Agent", job.model === null ? job.agent : `${job.agent}, model ${oneLine(job.model)}`],
    ["Queued", `${job.created_at} (${humaneAgo(Date.parse(job.created_at), now)})`],
    ["Ran", tookText(job, now)],
    ["Limit", job.timeout_ms === null ? "none" : humaneDuration(job.timeout_ms)],
    ["Worker", job.worker],
    ["Attempt", String(job.attempt)],
    ["Exit code", job.exit_code === null ? null : String(job.exit_code)],
    ["Error", job.error === null ? null : `${oneLine(job.error.message)} (${job.error.code})`],
    ["Prompt", oneLine(job.prompt_preview)],
  ];
  return facts
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => `${terminal.paint("dim", `${name}:`.padEnd(11))}${value}\n`)
    .join("");
}
