/** `npm run bench`: runs the scenarios one after the other, prints one table, writes the raw samples. */
import { join } from "node:path";
import { contest, rowsOf } from "./contest.ts";
import { type BenchOptions, parseOptions, USAGE } from "./options.ts";
import { RESULTS_DIR } from "./place.ts";
import { formatTable, machineLine, type Result, writeResults } from "./report.ts";
import type { Bench, Scenario } from "./scenario.ts";
import { ask } from "./scenarios/ask.ts";
import { burst } from "./scenarios/burst.ts";
import { durableTurn, syncedTurn } from "./scenarios/durable-turn.ts";
import { idleActors } from "./scenarios/idle-actors.ts";
import { jobs } from "./scenarios/jobs.ts";
import { output } from "./scenarios/output.ts";
import { starts } from "./scenarios/starts.ts";
import { takeOver } from "./scenarios/take-over.ts";
import { turnProfile } from "./scenarios/turn-profile.ts";

const SCENARIOS: readonly Scenario[] = [
  ask,
  durableTurn,
  syncedTurn,
  turnProfile,
  takeOver,
  idleActors,
  jobs,
  output,
  starts,
  burst,
];
const EXIT = { failed: 1, usage: 2, interrupted: 130 } as const;

const say = (line: string) => console.error(line);

async function runScenario(
  scenario: Scenario,
  parts: Pick<Bench, "options" | "signal" | "uses">,
): Promise<Result[]> {
  const steps: (() => Promise<unknown>)[] = [];
  const bench: Bench = { ...parts, say, undo: (step) => void steps.push(step) };
  const results: Result[] = [];
  try {
    say(`${scenario.name}: ${scenario.question}`);
    for (const part of await scenario.open(bench)) {
      const { name } = part;
      const about = { scenario: scenario.name, question: scenario.question, name };
      if ("run" in part) {
        results.push({ ...about, figures: await part.run(), rows: [], rounds: [] });
        continue;
      }
      const rounds = await contest(bench, part);
      results.push({ ...about, figures: [], rows: rowsOf(part, rounds), rounds });
    }
  } finally {
    for (const step of steps.toReversed()) {
      await step().catch((thrown: unknown) => say(`could not clean up: ${String(thrown)}`));
    }
  }
  return results;
}

function chosen(options: BenchOptions): readonly Scenario[] {
  const unknown = options.only.find((name) => !SCENARIOS.some((known) => known.name === name));
  if (unknown !== undefined) {
    const names = SCENARIOS.map(({ name }) => name).join(", ");
    throw new Error(`there is no scenario "${unknown}"; there are ${names}`);
  }
  return SCENARIOS.filter(({ name }) => options.only.length === 0 || options.only.includes(name));
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(USAGE);
    return 0;
  }
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => interrupted.abort(new Error("interrupted")));
  }
  let options: BenchOptions;
  let scenarios: readonly Scenario[];
  try {
    options = parseOptions(args);
    scenarios = chosen(options);
  } catch (thrown) {
    say(`${thrown instanceof Error ? thrown.message : String(thrown)}\n\n${USAGE}`);
    return EXIT.usage;
  }
  const { signal } = interrupted;
  const startedAt = new Date().toISOString();
  const programs = new Set<string>();
  const parts = { options, signal, uses: (program: string) => void programs.add(program) };
  const results: Result[] = [];
  for (const scenario of scenarios) {
    try {
      results.push(...(await runScenario(scenario, parts)));
    } catch (thrown) {
      if (signal.aborted) return EXIT.interrupted;
      throw thrown;
    }
  }
  const machine = machineLine(programs);
  console.log(`\n${machine}\n\n${formatTable(results)}`);
  const path = options.out ?? join(RESULTS_DIR, `${startedAt.replaceAll(/[:.]/g, "-")}.json`);
  await writeResults(path, { started_at: startedAt, machine, options }, results);
  console.log(`\nraw samples: ${path}`);
  return 0;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (thrown) {
  say(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  process.exit(EXIT.failed);
}
