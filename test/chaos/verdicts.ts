/** Holds what clients were promised against what is there, and says of each promise whether it was kept. Pure. */
import type { Operation } from "../../runtime/testkit/history.ts";
import { checkLinearizable, type Judgement } from "../../runtime/testkit/linearizability.ts";
import { growingCounterModel, registerModel } from "../../runtime/testkit/models.ts";
import { ATTEMPTS, type Ring } from "./actors.ts";
import { PARTITIONS } from "./connection.ts";
import { type Held, messageOf, unheard } from "./evidence.ts";
import type { InjectedFault } from "./faults.ts";
import { addTallies, type Findings } from "./findings.ts";
import { SERVER_FAULTS } from "./schedule.ts";
import { percentile } from "./statistics.ts";

export interface Verdict {
  readonly promise: "R1" | "R2" | "R3" | "R4" | "R5" | "R6" | "R7" | "R8";
  readonly verdict: "kept" | "broken" | "not judged";
  /** What was looked at. */
  readonly looked: string;
  /** The first of what was found wrong. */
  readonly flaws: readonly string[];
}

export interface Evidence {
  readonly findings: readonly Findings[];
  readonly held: Held;
  /** Calls of the counters that were probed all the time. */
  readonly probes: readonly Operation[];
  readonly records: { readonly count: number; readonly flaws: readonly string[] };
  readonly faults: readonly InjectedFault[];
  /** When the load began, in ms since the epoch. */
  readonly startedAt: number;
  /** After each SIGKILL of a node, for each of its partitions, until an actor of it answered again; undefined: never. */
  readonly takeovers: readonly (number | undefined)[];
  readonly owners: ReadonlyMap<number, string | null>;
  readonly liveNodes: readonly string[];
  readonly answering: readonly number[];
  /** The most memory that any node had, in bytes. */
  readonly maxRss: number | undefined;
  /** Whether the machine kept up; bounds of time are judged only then. */
  readonly isPaced: boolean;
}

const MAX_FLAWS = 10;
const JUDGE_MS = 60_000;
const LATE_MS = 1_000;
const TAKEOVER_MS = 5_000;
const RSS_BYTES = 512 * 1024 ** 2;
/** After a fault so long passes until its effects are over: an election, a lease, a restart. */
const AFTER_SERVER_MS = 12_000;
const AFTER_NODE_MS = 8_000;

export function judge(evidence: Evidence): Verdict[] {
  return [
    r1(evidence),
    r2(evidence),
    r3(evidence),
    r4(evidence),
    r5(evidence),
    r6(evidence),
  ].concat(r7(evidence), r8(evidence));
}

function verdict(
  promise: Verdict["promise"],
  looked: string,
  flaws: readonly string[],
  isJudged = true,
): Verdict {
  const seen = isJudged ? "kept" : "not judged";
  return {
    promise,
    verdict: flaws.length > 0 ? "broken" : seen,
    looked,
    flaws: flaws.slice(0, MAX_FLAWS),
  };
}

function r1({ findings, probes, records }: Evidence): Verdict {
  // Over all clients, for they used the same objects.
  const operations = findings
    .flatMap((each) => [...each.operations])
    .toSorted((a, b) => a.start - b.start);
  const of = (prefix: string) => operations.filter(({ key }) => key.startsWith(prefix));
  const judgements: [string, Judgement][] = [
    ["counters", checkLinearizable(growingCounterModel, of("counter:"), { budgetMs: JUDGE_MS })],
    ["probed counters", checkLinearizable(growingCounterModel, probes, { budgetMs: JUDGE_MS })],
    ["registers", checkLinearizable(registerModel(null), of("register:"), { budgetMs: JUDGE_MS })],
  ];
  const flaws = judgements.flatMap(([name, judgement]) =>
    judgement.verdict === "violated" ? [explain(name, judgement)] : [],
  );
  const sizes = judgements
    .map(([name, { keys, operations: count, verdict: found, key }]) => {
      const doubt = found === "unknown" ? `, not decided from ${key}` : "";
      return `${count} calls of ${keys} ${name}${doubt}`;
    })
    .join(", ");
  return verdict(
    "R1",
    `linearizable: ${sizes}; ${records.count} stored records by epoch`,
    [...flaws, ...records.flaws],
    judgements.every(([, { verdict: found }]) => found !== "unknown"),
  );
}

function explain(name: string, { key, witness }: Judgement): string {
  const show = ({ client, op, input, outcome }: Operation) =>
    `${client} ${op}(${JSON.stringify(input)}) -> ${outcome.type === "ok" ? JSON.stringify(outcome.output) : outcome.type}`;
  const last = witness?.order.slice(-3).map(show) ?? [];
  const stuck = witness?.stuck.slice(0, 3).map(show) ?? [];
  return `${name}, ${key}: after ${last.join("; ")} none of these could come: ${stuck.join("; ")}`;
}

function r2({ findings, held }: Evidence): Verdict {
  const letters = new Set(held.letters.map((letter) => messageOf(letter)));
  const told = findings.flatMap((each) => each.told);
  const lost = told.flatMap((each) =>
    unheard(held, each)
      .filter((n) => !letters.has(`${each.sender}-${each.key}-${n}`))
      .map((n) => `${each.kind}/${each.key} never handled ${n} of ${each.sender}`),
  );
  const floods = findings.flatMap((each) => each.floods);
  for (const { accepted, key } of floods) {
    const count = held.floods.get(key) ?? 0;
    if (count < accepted) lost.push(`${key} handled ${count} of ${accepted} accepted`);
  }
  for (const [key, count] of held.sent) {
    const last = held.relayed[`relay:${key}`]?.last ?? 0;
    if (last < count) lost.push(`relay ${key} sent ${count}, the last to arrive is ${last}`);
  }
  for (const id of findings.flatMap((each) => each.poisons))
    if (!letters.has(id)) lost.push(`${id} is in no dead letter`);
  const acked =
    told.reduce((sum, each) => sum + each.acked, 0) +
    floods.reduce((sum, each) => sum + each.accepted, 0);
  return verdict("R2", `${acked} acknowledged tells, ${letters.size} dead letters`, lost);
}

function r3({ findings, held }: Evidence): Verdict {
  const flaws: string[] = [];
  for (const [name, senders] of [...held.heard, ["ledger/relayed", held.relayed] as const])
    for (const [sender, { doubled }] of Object.entries(senders))
      if (doubled.length > 0)
        flaws.push(`${name} handled ${doubled.join(", ")} of ${sender} twice`);
  for (const { accepted, key, unsure } of findings.flatMap((each) => each.floods)) {
    const count = held.floods.get(key) ?? 0;
    if (count > accepted + unsure)
      flaws.push(`${key} handled ${count} of ${accepted} (+${unsure})`);
  }
  for (const [key, count] of held.sent) {
    const senders = Object.values(held.heard.get(`relay/${key}`) ?? {});
    const handled = senders.reduce((sum, { last, missing }) => sum + last - missing.length, 0);
    if (handled !== count) flaws.push(`relay ${key} handled ${handled} and sent ${count}`);
  }
  return verdict("R3", `numbers of ${held.heard.size} receivers, ${held.sent.size} relays`, flaws);
}

function r4({ held }: Evidence): Verdict {
  const all = [...held.heard, ["ledger/relayed", held.relayed] as const];
  const flaws = all.flatMap(([name, senders]) =>
    Object.entries(senders).flatMap(([sender, { late }]) =>
      late.length > 0 ? [`${name} handled ${late.join(", ")} of ${sender} too late`] : [],
    ),
  );
  const pairs = all.reduce((sum, [, senders]) => sum + Object.keys(senders).length, 0);
  return verdict("R4", `${pairs} pairs of sender and receiver`, flaws, pairs > 0);
}

function r5({ findings, held }: Evidence): Verdict {
  const poisons = findings.flatMap((each) => each.poisons);
  const flaws = poisons.flatMap((id) => {
    const letters = held.letters.filter((letter) => messageOf(letter) === id);
    const [letter] = letters;
    if (!letter) return [`${id} has no dead letter`];
    if (letters.length > 1) return [`${id} has ${letters.length} dead letters`];
    const { attempts, reason } = letter;
    return reason.code === "actor.failed" && attempts === ATTEMPTS
      ? []
      : [`${id}: ${reason.code} after ${attempts} attempts`];
  });
  const looked = `${poisons.length} poison messages, each a dead letter after ${ATTEMPTS} attempts`;
  return verdict("R5", looked, flaws, poisons.length > 0);
}

function r6({ faults, findings, held, isPaced, startedAt }: Evidence): Verdict {
  const flaws: string[] = [];
  const lateness: number[] = [];
  const outages = faults.map(({ endedMs, fault, startedMs }) => {
    const isServer = (SERVER_FAULTS as readonly string[]).includes(fault.kind);
    const after = isServer ? AFTER_SERVER_MS : AFTER_NODE_MS;
    return { from: startedAt + startedMs, to: startedAt + endedMs + after };
  });
  const reminders = findings.flatMap((each) => each.reminders);
  for (const { cancelled, key, name } of reminders) {
    const ring = held.rings.get(key)?.[name];
    const flaw = flawOfRing(ring, cancelled);
    if (flaw) flaws.push(`${key}, ${name}: ${flaw}`);
    if (ring?.rangAt === undefined) continue;
    const { dueAt } = ring;
    if (outages.every(({ from, to }) => dueAt < from - LATE_MS || dueAt > to))
      lateness.push(ring.rangAt - dueAt);
  }
  const late = lateness.filter((ms) => ms > LATE_MS);
  // One in a hundred may wait for the machine that runs all of this.
  if (isPaced && late.length > lateness.length / 100 && late.length > 1)
    flaws.push(`${late.length} of ${lateness.length} were late: ${late.join(", ")} ms`);
  const most = lateness.length > 0 ? `, at most ${Math.max(...lateness)} ms late` : "";
  const looked = `${reminders.length} reminders, ${lateness.length} of them outside outages${most}`;
  return verdict("R6", `${looked}${unpaced(isPaced)}`, flaws, isPaced && lateness.length > 0);
}

const unpaced = (isPaced: boolean) =>
  isPaced ? "" : "; its bound of time was left out, for the machine did not keep up";

function flawOfRing(ring: Ring | undefined, cancelled: boolean): string | undefined {
  if (!ring) return "was accepted and never set";
  if (ring.rings > 1) return `rang ${ring.rings} times`;
  if (ring.rings === 0) return cancelled ? undefined : "never rang";
  return ring.cancelledAt === undefined ? undefined : "rang after it was cancelled";
}

function r7({ findings, maxRss }: Evidence): Verdict {
  const tally = addTallies(findings.map((each) => each.tally));
  const flaws = Object.entries(tally)
    .filter(([, counts]) => counts["internal.unexpected"] !== undefined)
    .map(([kind]) => `${kind} ended with internal.unexpected`);
  if ((maxRss ?? 0) > RSS_BYTES) flaws.push(`a node took ${mebibytes(maxRss)} MiB`);
  const full = findings.flatMap((each) => each.floods).reduce((sum, each) => sum + each.full, 0);
  const looked = `${full} refusals of full mailboxes, at most ${mebibytes(maxRss)} MiB in a node`;
  return verdict("R7", looked, flaws, full > 0);
}

const mebibytes = (bytes: number | undefined) =>
  bytes === undefined ? "?" : String(Math.round(bytes / 1024 ** 2));

function r8({ answering, isPaced, liveNodes, owners, takeovers }: Evidence): Verdict {
  const flaws: string[] = [];
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    const owner = owners.get(partition);
    if (!owner || !liveNodes.includes(owner)) flaws.push(`partition ${partition} has no owner`);
    else if (!answering.includes(partition)) flaws.push(`partition ${partition} does not answer`);
  }
  const p99 = percentile(
    takeovers.map((ms) => ms ?? Number.POSITIVE_INFINITY),
    0.99,
  );
  if (isPaced && p99 !== undefined && p99 >= TAKEOVER_MS)
    flaws.push(`take-over took ${Math.round(p99)} ms (p99)`);
  const looked = `${PARTITIONS} partitions, ${takeovers.length} of them taken over after a SIGKILL`;
  return verdict("R8", `${looked}${unpaced(isPaced)}`, flaws, isPaced && takeovers.length > 0);
}
