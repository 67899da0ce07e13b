import type { Command } from "commander";
import { cancelledJobSchema } from "../../protocols/api.ts";
import { parseDuration } from "../../protocols/duration.ts";
import { BerthError } from "../../protocols/errors.ts";
import { isTerminal } from "../../protocols/job.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  tenantCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import type { Gateway } from "./gateway.ts";
import { endOf, type JobEnd } from "./job-end.ts";

interface CancelOptions extends ConnectionOptions {
  readonly wait?: boolean;
  readonly waitLimit: string;
}

export function cancelCommand(context: CliContext): Command {
  return tenantCommand("cancel", "cancel a job")
    .argument("<id>", "the job")
    .option("--wait", "return when its processes are gone")
    .option("--wait-limit <duration>", "how long --wait waits", "60s")
    .action(action(context, (id: string, options: CancelOptions) => cancel(context, id, options)));
}

async function cancel(context: CliContext, id: string, options: CancelOptions): Promise<number> {
  const { terminal } = context;
  const limitMs = parseDuration(options.waitLimit);
  const gateway = await connect(context, options, "pro");
  const query = { tenant: options.tenant };
  const path = `/v1/jobs/${encodeURIComponent(id)}/cancel`;
  const taken = await gateway.send({ method: "POST", path, schema: cancelledJobSchema, query });
  const end =
    options.wait === true && !isTerminal(taken.state)
      ? await waitForEnd({ gateway, id, tenant: options.tenant, limitMs })
      : undefined;
  const state = end?.state ?? taken.state;
  const told = isTerminal(state) ? `${id} is ${state}\n` : `${id} is being cancelled\n`;
  await terminal.out(options.json === true ? `${JSON.stringify({ ...taken, state })}\n` : told);
  return EXIT.ok;
}

/** The end of the job; throws `ask.timeout` when it has not ended in time. */
async function waitForEnd(job: {
  readonly gateway: Gateway;
  readonly id: string;
  readonly tenant: string | undefined;
  readonly limitMs: number;
}): Promise<JobEnd> {
  const { gateway, id, tenant, limitMs } = job;
  const signal = AbortSignal.timeout(limitMs);
  for await (const event of gateway.events(`/v1/jobs/${id}/events`, { tenant, signal })) {
    const end = event.job_id === id ? endOf(event) : undefined;
    if (end !== undefined) return end;
  }
  throw new BerthError(
    "ask.timeout",
    `${id} has not ended within ${limitMs} ms; it is still being cancelled`,
  );
}
