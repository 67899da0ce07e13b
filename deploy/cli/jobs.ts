import { type Command, Option } from "commander";
import { type JobSummary, jobSummarySchema } from "../../protocols/api.ts";
import { JOB_STATES } from "../../protocols/job.ts";
import { type CliContext, type ConnectionOptions, tenantCommand, wholeNumber } from "./context.ts";
import { humaneAgo, humaneDuration } from "./humane.ts";
import { listAction } from "./list.ts";
import type { Column } from "./table.ts";
import { oneLine } from "./terminal.ts";
import { paintState } from "./tones.ts";

interface JobsOptions extends ConnectionOptions {
  readonly state?: string;
  readonly session?: string;
  readonly limit: number;
}

export function jobsCommand(context: CliContext): Command {
  return tenantCommand("jobs", "list jobs, newest first")
    .addOption(new Option("--state <state>", "only jobs in this state").choices(JOB_STATES))
    .option("--session <id>", "only jobs of this session")
    .option("--limit <count>", "at most so many", wholeNumber(1), 20)
    .action(
      listAction(context, "pro", {
        rows: (gateway, { limit, session: session_id, state, tenant }: JobsOptions) =>
          gateway.list("/v1/jobs", jobSummarySchema, { tenant, state, session_id }, limit),
        columns: (now) => columns(context, now),
        empty: "No jobs.",
      }),
    );
}

function columns({ terminal }: CliContext, now: number): readonly Column<JobSummary>[] {
  return [
    { title: "JOB", cell: (job) => job.id },
    { title: "STATE", cell: (job) => paintState(terminal, job.state) },
    { title: "AGENT", cell: (job) => oneLine(job.agent) },
    { title: "TIER", cell: (job) => job.tier },
    { title: "QUEUED", align: "right", cell: (job) => humaneAgo(Date.parse(job.created_at), now) },
    { title: "TOOK", align: "right", cell: (job) => tookText(job, now) },
    { title: "EXIT", align: "right", cell: (job) => String(job.exit_code ?? "") },
    { title: "PROMPT", shrinks: true, cell: (job) => oneLine(job.prompt_preview) },
  ];
}

/** How long a job ran, or has run so far. */
export function tookText(job: Pick<JobSummary, "started_at" | "finished_at">, now: number): string {
  if (job.started_at === null) return "";
  const until = job.finished_at === null ? now : Date.parse(job.finished_at);
  return humaneDuration(until - Date.parse(job.started_at));
}
