/**
 * `npm run simulate`: schedules from a seed on, until one breaks a promise. `--seed N` runs that one and prints
 * all that happened in it.
 */
import { parseArgs } from "node:util";
import { describeFault } from "../../runtime/testkit/fault-plan.ts";
import { runSchedule } from "../../runtime/testkit/schedule.ts";
import { describeFailure, sweep } from "../../runtime/testkit/sweep.ts";
import { promises } from "./scenario.ts";

const MS_PER_MINUTE = 60_000;
const say = (line: string) => process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    from: { type: "string", default: "1" },
    schedules: { type: "string", default: "2000" },
    minutes: { type: "string" },
  },
});

process.exitCode = (await (values.seed === undefined ? search() : replay(Number(values.seed))))
  ? 0
  : 1;

async function replay(seed: number): Promise<boolean> {
  const result = await runSchedule(promises(), { seed, trace: say });
  say("");
  for (const fault of result.faults) say(`fault ${describeFault(fault)}`);
  for (const { rule, message } of result.violations) say(`${rule} is broken: ${message}`);
  say(`${result.events} events, trace ${result.hash}, ${result.violations.length} violations`);
  return result.violations.length === 0;
}

async function search(): Promise<boolean> {
  const { minutes } = values;
  const { schedules, events, simulatedMs, failure } = await sweep(promises(), {
    first: Number(values.from),
    schedules: minutes === undefined ? Number(values.schedules) : Number.POSITIVE_INFINITY,
    ...(minutes === undefined ? {} : { budgetMs: Number(minutes) * MS_PER_MINUTE }),
  });
  const hours = (simulatedMs / MS_PER_MINUTE / 60).toFixed(1);
  say(`${schedules} schedules, ${events} events, ${hours} simulated hours`);
  if (!failure) return true;
  say(describeFailure(failure));
  say(`see it again: npm run simulate -- --seed ${failure.seed}`);
  return false;
}
