import type { Command } from "commander";
import { type ApiJob, jobSchema } from "../../protocols/api.ts";
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
        const job = await gateway.get(`/v1/jobs/${encodeURIComponent(id)}`, jobSchema, query);
        await context.terminal.out(
          options.json === true ? `${JSON.stringify(job)}\n` : describe(job, context),
        );
        return EXIT.ok;
      }),
    );
}

function describe(job: ApiJob, { terminal, clock }: CliContext): string {
  const now = clock.now();
  const facts: readonly (readonly [string, string | null | undefined])[] = [
    ["Job", job.id],
    ["State", paintState(terminal, job.state)],
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
