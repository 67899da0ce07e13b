/** Each verdict of a chaos run can be broken: evidence with one flaw put into it. */
import { describe, expect, test } from "vitest";
import type { DeadLetter } from "../../../protocols/records.ts";
import type { Operation } from "../../../runtime/testkit/history.ts";
import type { Heard } from "../../chaos/actors.ts";
import { PARTITIONS } from "../../chaos/connection.ts";
import type { Findings } from "../../chaos/findings.ts";
import { type Evidence, judge } from "../../chaos/verdicts.ts";

const heard = (last: number, flaws: Partial<Heard> = {}): Heard => ({
  last,
  missing: [],
  late: [],
  doubled: [],
  ...flaws,
});

const letter = (id: string, fields: Partial<DeadLetter> = {}): DeadLetter => ({
  id: `dl-${id}`,
  actor: { kind: "chaos-frail", tenant: "chaos", key: "frail" },
  lane: "user",
  envelope: { id },
  reason: { code: "actor.failed", message: "poison" },
  epoch: 1,
  attempts: 3,
  at: 0,
  ...fields,
});

const add = (start: number, input: number, output: number): Operation => ({
  client: "c1",
  key: "counter:1",
  op: "add",
  input,
  outcome: { type: "ok", output },
  start,
  end: start + 1,
});

const FINDINGS: Findings = {
  operations: [add(0, 5, 5), add(2, 2, 7)],
  told: [
    { kind: "ledger", key: "l", sender: "s", acked: 3, unsure: 0 },
    { kind: "relay", key: "r", sender: "s", acked: 2, unsure: 0 },
  ],
  reminders: [{ key: "a", name: "one", cancelled: false }],
  poisons: ["p1"],
  floods: [{ key: "f", accepted: 10, unsure: 1, full: 4 }],
  tally: { tell: { ok: 3 } },
};

/** A run in which all went well. */
const GOOD: Evidence = {
  findings: [FINDINGS],
  held: {
    heard: new Map([
      ["ledger/l", { s: heard(3) }],
      ["relay/r", { s: heard(2) }],
    ]),
    sent: new Map([["r", 2]]),
    relayed: { "relay:r": heard(2) },
    rings: new Map([["a", { one: { dueAt: 50_000, rangAt: 50_100, rings: 1 } }]]),
    floods: new Map([["f", 10]]),
    letters: [letter("p1")],
  },
  probes: [],
  records: { count: 9, flaws: [] },
  faults: [],
  startedAt: 0,
  takeovers: [1_500],
  owners: new Map(Array.from({ length: PARTITIONS }, (_, partition) => [partition, "n1"])),
  liveNodes: ["n1"],
  answering: Array.from({ length: PARTITIONS }, (_, partition) => partition),
  maxRss: 100_000_000,
  isPaced: true,
};

const held = (fields: Partial<Evidence["held"]>): Evidence => ({
  ...GOOD,
  held: { ...GOOD.held, ...fields },
});
const found = (fields: Partial<Findings>): Evidence => ({
  ...GOOD,
  findings: [{ ...FINDINGS, ...fields }],
});
const ledger = (of: Heard) =>
  held({ heard: new Map([...GOOD.held.heard, ["ledger/l", { s: of }]]) });
const ring = (fields: object) =>
  held({
    rings: new Map([["a", { one: { dueAt: 50_000, rangAt: 50_100, rings: 1, ...fields } }]]),
  });

const broken = (evidence: Evidence) =>
  judge(evidence).flatMap(({ promise, verdict }) => (verdict === "broken" ? [promise] : []));

const open = (evidence: Evidence) =>
  judge(evidence).flatMap(({ promise, verdict }) => (verdict === "not judged" ? [promise] : []));

describe("verdicts", () => {
  test("of a run in which all went well: every promise was kept", () => {
    expect(judge(GOOD).map(({ verdict }) => verdict)).toEqual(Array(8).fill("kept"));
  });

  test.each([
    ["R1", "an answer that lost an addition", found({ operations: [add(0, 5, 5), add(2, 2, 2)] })],
    ["R1", "a probe that went back", { ...GOOD, probes: [add(0, 5, 5), add(2, 2, 5)] }],
    ["R1", "a stale epoch that wrote", { ...GOOD, records: { count: 9, flaws: ["older epoch"] } }],
    ["R2", "an acknowledged tell that nobody handled", ledger(heard(2))],
    ["R2", "a number jumped over", ledger(heard(3, { missing: [2] }))],
    ["R2", "a flood of which one is gone", held({ floods: new Map([["f", 9]]) })],
    ["R3", "a number handled twice", ledger(heard(3, { doubled: [2] }))],
    ["R3", "more handled than accepted", held({ floods: new Map([["f", 12]]) })],
    ["R3", "a relay that sent more than it handled", held({ sent: new Map([["r", 3]]) })],
    ["R4", "a number that came after a later one", ledger(heard(3, { late: [1] }))],
    ["R5", "a poison with two letters", held({ letters: [letter("p1"), letter("p1")] })],
    ["R5", "a poison tried once", held({ letters: [letter("p1", { attempts: 1 })] })],
    ["R6", "a reminder that rang twice", ring({ rings: 2 })],
    ["R6", "a reminder that never rang", ring({ rings: 0, rangAt: undefined })],
    ["R6", "a reminder that rang after it was cancelled", ring({ cancelledAt: 1 })],
    [
      "R7",
      "an error without a code of its own",
      found({ tally: { tell: { "internal.unexpected": 1 } } }),
    ],
    ["R7", "a node that grew", { ...GOOD, maxRss: 2 ** 31 }],
    ["R8", "a partition without an owner", { ...GOOD, owners: new Map() }],
    ["R8", "a partition that does not answer", { ...GOOD, answering: [] }],
    ["R8", "a take-over that took long", { ...GOOD, takeovers: [1_000, 6_000] }],
    ["R8", "a partition that never answered again", { ...GOOD, takeovers: [undefined] }],
  ] as const)("%s is broken by %s", (promise, _what, evidence) => {
    expect(broken(evidence)).toContain(promise);
  });

  test("R2 is kept by a tell that stands in the dead letters", () => {
    const evidence = ledger(heard(3, { missing: [2] }));
    const letters = [letter("p1"), letter("s-l-2")];
    expect(broken({ ...evidence, held: { ...evidence.held, letters } })).toEqual([]);
  });

  test("bounds of time are not judged on a machine that did not keep up, and nothing with such a bound is called kept", () => {
    const slow: Evidence = { ...GOOD, takeovers: [6_000], isPaced: false };
    expect(broken(slow)).toEqual([]);
    expect(open(slow)).toEqual(["R6", "R8"]);
    expect(judge(slow).find(({ promise }) => promise === "R8")?.looked).toContain("keep up");
  });

  test("what needs no clock is judged on a slow machine, too", () => {
    expect(broken({ ...GOOD, owners: new Map(), isPaced: false })).toEqual(["R8"]);
    expect(broken({ ...ring({ rings: 2 }), isPaced: false })).toEqual(["R6"]);
  });

  test("nothing is called kept that nobody looked at", () => {
    expect(open(found({ poisons: [], floods: [], reminders: [] }))).toEqual(["R5", "R6", "R7"]);
    expect(open({ ...GOOD, takeovers: [] })).toEqual(["R8"]);
  });
});
