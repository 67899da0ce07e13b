/** Runs all kinds of cases in turn until the time is over, and stops at the first that breaks a promise. */
import * as fc from "fast-check";
import { systemClock } from "../../runtime/clock.ts";
import { faultOf, send } from "./answers.ts";
import { anyConversation, faultOfConversation } from "./frames.ts";
import { anyPair, differenceOf } from "./pairs.ts";
import { anyRequest, readDocument } from "./requests.ts";
import { anyBytes, faultOfBytes } from "./sockets.ts";
import { openStage, type Stage } from "./stage.ts";

export interface FuzzReport {
  readonly seed: number;
  readonly ms: number;
  readonly cases: Readonly<Record<string, number>>;
  readonly operations: number;
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** What was broken and by which case; undefined when nothing was. */
  readonly failure: string | undefined;
}

interface Kind {
  readonly name: string;
  /** Cases in one round: slow kinds have fewer. */
  readonly runs: number;
  readonly property: fc.IAsyncPropertyWithHooks<[unknown]>;
}

export async function runFuzz(options: {
  readonly seed: number;
  readonly seconds: number;
}): Promise<FuzzReport> {
  await using stage = await openStage();
  const { statuses, kinds, operations } = await kindsOf(stage);
  const cases: Record<string, number> = Object.fromEntries(kinds.map(({ name }) => [name, 0]));
  const start = systemClock.monotonic();
  const isOver = () => systemClock.monotonic() - start >= options.seconds * 1_000;
  let failure: string | undefined;
  for (let round = 0; failure === undefined && (round === 0 || !isOver()); round += 1) {
    for (const { name, property, runs } of kinds) {
      const seed = options.seed + round;
      const details = await fc.check(property, {
        seed,
        numRuns: runs,
        interruptAfterTimeLimit: 30_000,
      });
      cases[name] = (cases[name] ?? 0) + details.numRuns;
      if (details.failed) {
        const why = details.errorInstance instanceof Error ? details.errorInstance.message : "";
        failure = `${name}, seed ${seed}: ${why}\n${fc.defaultReportMessage(details)}`;
      } else if (stage.crashes.length > 0)
        failure = `${name}, seed ${seed}: ${stage.crashes.join("\n")}`;
      if (failure !== undefined) break;
    }
  }
  const ms = systemClock.monotonic() - start;
  return { seed: options.seed, ms, cases, operations, statuses, failure };
}

async function kindsOf(stage: Stage) {
  const document = await readDocument(stage.url);
  const statuses: Record<string, number> = {};
  const request = fc.asyncProperty(anyRequest(stage, document), async (each) => {
    const answer = await send(stage, each);
    const key = answer.status < 500 ? answer.status : `${answer.status} ${each.route}`;
    statuses[key] = (statuses[key] ?? 0) + 1;
    demand(faultOf(each, answer));
  });
  const pair = fc.asyncProperty(anyPair(stage, document), async (each) =>
    demand(await differenceOf(stage, each)),
  );
  const bytes = fc.asyncProperty(anyBytes, async (each) => demand(await faultOfBytes(stage, each)));
  const frames = fc.asyncProperty(anyConversation(stage), async (each) =>
    demand(await faultOfConversation(stage, each)),
  );
  const kinds = [
    { name: "requests", runs: 200, property: request },
    { name: "pairs", runs: 60, property: pair },
    { name: "bytes", runs: 40, property: bytes },
    { name: "conversations", runs: 25, property: frames },
  ] as Kind[];
  return { statuses, kinds, operations: document.operations.length };
}

function demand(fault: string | undefined): void {
  if (fault !== undefined) throw new Error(fault);
}

export function describeReport({ cases, ms, operations, seed, statuses }: FuzzReport): string {
  const all = Object.values(cases).reduce((sum, count) => sum + count, 0);
  const parts = Object.entries(cases).map(([name, count]) => `${count} ${name}`);
  const answers = Object.entries(statuses).map(([status, count]) => `${status}: ${count}`);
  return (
    `${all} cases in ${(ms / 1_000).toFixed(1)} s from seed ${seed}: ${parts.join(", ")}; ` +
    `${operations} operations; answers ${answers.join(", ")}`
  );
}
