import { Command, CommanderError } from "commander";
import { asBerthError, type BerthError } from "../../protocols/errors.ts";
import { actorCommand } from "./actor.ts";
import { actorsCommand } from "./actors.ts";
import { agentsCommand } from "./agents.ts";
import { auditCommand } from "./audit.ts";
import { backupCommand } from "./backup.ts";
import { cancelCommand } from "./cancel.ts";
import type { CliContext } from "./context.ts";
import { credentialsCommand } from "./credentials.ts";
import { deadLettersCommand } from "./dead-letters.ts";
import { doctorCommand } from "./doctor.ts";
import { drainCommand } from "./drain.ts";
import { EXIT, exitCodeOfError } from "./exit-codes.ts";
import { jobCommand } from "./job.ts";
import { jobsCommand } from "./jobs.ts";
import { logsCommand } from "./logs.ts";
import { natsCommand } from "./nats.ts";
import { nodesCommand } from "./nodes.ts";
import { policyCommand } from "./policy.ts";
import { queuesCommand } from "./queues.ts";
import { gatewayRoleCommand, nodeCommand, operatorKeyCommand } from "./roles.ts";
import { runCommand } from "./run.ts";
import { sessionsCommand } from "./sessions.ts";
import { tenantsCommand } from "./tenants.ts";
import { oneLine } from "./terminal.ts";
import { type Starters, upCommand } from "./up.ts";
import { vaultCommand } from "./vault.ts";
import { workerCommand } from "./worker.ts";
import { workersCommand } from "./workers.ts";

const EXIT_CODES = `
Exit codes: 0 done, 1 the job or a check failed ("run" passes the job's own code on), 2 wrong usage,
3 not allowed, 4 not found, 5 quota used up, 6 try again later, 124 timed out, 130 interrupted or cancelled.`;

/** Runs one command line, without the name of the program; every failure becomes one line and an exit code. */
export async function runCli(
  args: readonly string[],
  context: CliContext,
  starters: Starters,
): Promise<void> {
  try {
    await buildProgram(context, starters).parseAsync(args, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      context.setExitCode(error.exitCode === 0 ? EXIT.ok : EXIT.usage);
      return;
    }
    const known = asBerthError(error);
    context.setExitCode(exitCodeOfError(known));
    await context.terminal.err(`${errorLine(known, context)}\n`);
  }
}

function buildProgram(context: CliContext, starters: Starters): Command {
  const program = new Command("berth")
    .description("Runs AI agents for many tenants in warm, isolated workers.")
    .version(context.version)
    .addHelpText("after", EXIT_CODES);
  for (const command of [
    upCommand(context, starters),
    nodeCommand(context, starters),
    gatewayRoleCommand(context, starters),
    operatorKeyCommand(context, starters),
    natsCommand(context, starters),
    runCommand(context),
    jobsCommand(context),
    jobCommand(context),
    logsCommand(context),
    cancelCommand(context),
    sessionsCommand(context),
    credentialsCommand(context),
    agentsCommand(context),
    workersCommand(context),
    workerCommand(context),
    queuesCommand(context),
    tenantsCommand(context),
    nodesCommand(context),
    actorsCommand(context),
    actorCommand(context),
    deadLettersCommand(context),
    auditCommand(context),
    policyCommand(context),
    drainCommand(context),
    vaultCommand(context),
    backupCommand(context, starters),
    doctorCommand(context),
  ]) {
    program.addCommand(command);
  }
  keepExits(program, context);
  return program;
}

/** Commander must neither end the process nor print past our terminal. Added commands inherit nothing. */
function keepExits(command: Command, context: CliContext): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => void context.terminal.out(text),
    writeErr: (text) => void context.terminal.err(text),
  });
  command.showHelpAfterError(`(see "${nameOf(command)} --help")`);
  for (const child of command.commands) keepExits(child, context);
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

const REMEDIES: Partial<Record<BerthError["code"], string>> = {
  "auth.invalid": 'check the key: .berth/dev.json changes with "npm start"',
  "auth.forbidden": "use a key with more rights, such as --tier operator in development",
  "agent.credential_missing": '"berth credentials set PROVIDER" stores one',
  "gateway.unavailable": 'is it running? "berth doctor" tells more',
  "quota.hourly": "wait for the next hour, or use another tier",
  "agent.unknown": '"berth agents" lists them',
};

/** `berth: what failed (code); what to do`. */
export function errorLine(error: BerthError, { terminal }: Pick<CliContext, "terminal">): string {
  const wait = error.retryAfterMs;
  const remedy = REMEDIES[error.code] ?? (wait === undefined ? undefined : "try again later");
  const when = wait === undefined ? "" : `, in ${Math.ceil(wait / 1_000)} s`;
  const advice = remedy === undefined ? "" : `; ${remedy}${when}`;
  return `${terminal.paint("red", "berth:")} ${oneLine(error.message)} (${error.code})${advice}`;
}
