import type { Command } from "commander";
import { eventPageSchema, jobSchema } from "../../protocols/api.ts";
import type { SessionEvent } from "../../protocols/events.ts";
import { isTerminal } from "../../protocols/job.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  kindOfId,
  tenantCommand,
  wholeNumber,
} from "./context.ts";
import { EXIT, exitCodeOfJob } from "./exit-codes.ts";
import { follow } from "./follow.ts";
import type { Gateway } from "./gateway.ts";

interface LogsOptions extends ConnectionOptions {
  readonly follow?: boolean;
  readonly after?: number;
}

export function logsCommand(context: CliContext): Command {
  return tenantCommand("logs", "print the events of a job or a session")
    .argument("<id>", "a job (job_...) or a session (ses_...)")
    .option("-f, --follow", "go on with what comes, until the job ends or Ctrl-C")
    .option("--after <seq>", "only events after this one", wholeNumber(0))
    .action(action(context, (id: string, options: LogsOptions) => logs(context, id, options)));
}

async function logs(context: CliContext, id: string, options: LogsOptions): Promise<number> {
  const kind = kindOfId(id);
  const gateway = await connect(context, options, "pro");
  const query = { tenant: options.tenant };
  const path = `/v1/${kind}s/${id}/events`;
  const isOver =
    kind === "job" && isTerminal((await gateway.get(`/v1/jobs/${id}`, jobSchema, query)).state);
  const leave = new AbortController();
  const stop = context.onInterrupt(() => leave.abort());
  try {
    const after = options.after ?? (kind === "session" ? 0 : undefined);
    const live = options.follow === true && !isOver;
    const events = live
      ? gateway.events(path, { after, tenant: options.tenant, signal: leave.signal })
      : readPages({ gateway, path, query, after, signal: leave.signal });
    const followed = await follow({
      events,
      terminal: context.terminal,
      json: options.json === true,
      ...(kind === "job" && live ? { jobId: id } : {}),
    });
    if (leave.signal.aborted) return EXIT.interrupted;
    return followed.end === undefined
      ? EXIT.ok
      : exitCodeOfJob(followed.end.state, followed.end.exitCode);
  } finally {
    stop();
  }
}

/** What the log holds now, page by page. */
async function* readPages(from: {
  readonly gateway: Gateway;
  readonly path: string;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly after: number | undefined;
  readonly signal: AbortSignal;
}): AsyncGenerator<SessionEvent, void> {
  for (let cursor = from.after; !from.signal.aborted; ) {
    const page = await from.gateway.get(from.path, eventPageSchema, {
      ...from.query,
      after: cursor,
    });
    yield* page.data;
    if (!page.has_more) return;
    cursor = page.cursor;
  }
}
