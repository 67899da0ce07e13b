/** `npm run chaos`: faults on real servers and processes under load, and what became of the promises. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../runtime/clock.ts";
import { sharedAbort } from "../../runtime/shared-abort.ts";
import { type ChaosOptions, parseOptions, USAGE } from "./options.ts";
import { formatRun, isBroken, writeRun } from "./report.ts";
import { runChaos } from "./run.ts";

const EXIT = { kept: 0, broken: 1, usage: 2, interrupted: 130 } as const;
const REPORTS = fileURLToPath(new URL("../../.berth/chaos/", import.meta.url));

const say = (line: string) => process.stdout.write(`${line}\n`);

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    say(USAGE);
    return EXIT.kept;
  }
  let options: ChaosOptions;
  try {
    options = parseOptions(args, systemClock.now());
  } catch (thrown) {
    say(`${thrown instanceof Error ? thrown.message : String(thrown)}\n\n${USAGE}`);
    return EXIT.usage;
  }
  const interrupted = sharedAbort();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => interrupted.abort(new Error("interrupted")));
  try {
    const run = await runChaos(options, { say, signal: interrupted.signal });
    say(formatRun(run));
    const time = new Date(systemClock.now()).toISOString().replaceAll(/[:.]/g, "-");
    const path = options.out ?? join(REPORTS, `${time}-seed-${options.seed}.json`);
    await writeRun(path, run);
    say(`\nreport: ${path}`);
    return isBroken(run) ? EXIT.broken : EXIT.kept;
  } catch (thrown) {
    if (interrupted.signal.aborted) return EXIT.interrupted;
    throw thrown;
  }
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (thrown) {
  say(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  process.exit(EXIT.broken);
}
