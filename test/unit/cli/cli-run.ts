/** One command line, run as a user would, against whatever its environment names. */
import type { CliContext } from "../../../deploy/cli/context.ts";
import { runCli } from "../../../deploy/cli/program.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { interruptsDouble, startersDouble, terminalDouble } from "./terminal-double.ts";

export async function runBerth(
  args: readonly string[],
  options: { readonly key?: string; readonly url?: string; readonly secret?: string } = {},
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const { terminal, stdout, stderr } = terminalDouble();
  let code = 0;
  const context: CliContext = {
    terminal,
    clock: systemClock,
    environment: { key: options.key, url: options.url, noColor: true },
    cwd: "/",
    version: "1.2.3",
    readStdin: () => Promise.resolve(""),
    readSecret: () => Promise.resolve(options.secret ?? ""),
    onInterrupt: interruptsDouble().onInterrupt,
    setExitCode: (value) => {
      code = value;
    },
    exitNow: () => undefined,
  };
  const unused = () => Promise.reject(new Error("nothing is started"));
  await runCli(args, context, startersDouble(unused));
  return { code, out: stdout.text, err: stderr.text };
}
