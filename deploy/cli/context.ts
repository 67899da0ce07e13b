import { Command, InvalidArgumentError, Option } from "commander";
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { type Gateway, openGateway } from "./gateway.ts";
import { type ClientEnvironment, resolveTarget, type TargetOptions } from "./target.ts";
import type { Terminal } from "./terminal.ts";

/** What commands get from the process that they run in. */
export interface CliContext {
  readonly terminal: Terminal;
  readonly clock: Clock;
  readonly environment: ClientEnvironment;
  readonly cwd: string;
  readonly version: string;
  readStdin(): Promise<string>;
  /** One line that nobody shall see: asked for where a person types, else all of standard input. */
  readSecret(prompt: string): Promise<string>;
  /** Calls back for each Ctrl-C (or SIGTERM) until the returned function is called; without one the process ends. */
  onInterrupt(fn: (signal: "SIGINT" | "SIGTERM") => void): () => void;
  /** What the process exits with. */
  setExitCode(code: number): void;
  /** Ends the process at once. */
  exitNow(code: number): void;
}

export interface ConnectionOptions extends TargetOptions {
  readonly json?: boolean;
  readonly tenant?: string;
}

/** Keys of the development file: what a command uses when none is named. */
export type UsualKey = "pro" | "operator";

/** Runs a command's action and keeps the exit code that it returns. */
export function action<A extends unknown[]>(
  context: CliContext,
  run: (...args: A) => Promise<number>,
): (...args: A) => Promise<void> {
  return async (...args) => context.setExitCode(await run(...args));
}

/** A command that talks to a gateway, with the options that all of those have. */
export function gatewayCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option("--url <url>", "the gateway (BERTH_URL, or what npm start wrote)")
    .option("--key <key>", "API key (BERTH_KEY, or what npm start wrote)")
    .option("--key-stdin", "read the API key from standard input")
    .addOption(
      new Option("--tier <tier>", "use the development key of this tier").choices([
        "free",
        "pro",
        "enterprise",
        "operator",
      ]),
    )
    .option("--json", "print JSON; one object per line for streams");
}

/** As `gatewayCommand`, for what belongs to a tenant: an operator names whose. */
export function tenantCommand(name: string, description: string): Command {
  return gatewayCommand(name, description).option(
    "--tenant <id>",
    "as an operator: of this tenant",
  );
}

export async function connect(
  context: CliContext,
  options: ConnectionOptions,
  usual: UsualKey,
): Promise<Gateway> {
  const target = await resolveTarget(
    options,
    options.tenant === undefined ? usual : "operator",
    context,
  );
  return openGateway(target, { clock: context.clock, fetch });
}

/** An option's whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number of at least ${least}.`);
  };
}

/** Whether `id` names a job or a session; throws `id.invalid` for anything else. */
export function kindOfId(id: string): "job" | "session" {
  if (/^job_[0-9A-Z]{26}$/.test(id)) return "job";
  if (/^ses_[0-9A-Z]{26}$/.test(id)) return "session";
  throw new BerthError("id.invalid", `"${id}" is neither a job (job_...) nor a session (ses_...)`);
}
