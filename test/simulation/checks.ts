/** R2, R3, R4, R6 and R8 and linearizability, judged when all is at rest. */
import { refName } from "../../protocols/ids.ts";
import { decodeRecord } from "../../runtime/record.ts";
import type { Operation } from "../../runtime/testkit/history.ts";
import { checkLinearizable } from "../../runtime/testkit/linearizability.ts";
import { counterModel, registerModel } from "../../runtime/testkit/models.ts";
import type { Violation } from "../../runtime/testkit/scenario.ts";
import type { Simulation } from "../../runtime/testkit/simulation.ts";
import { Cell, CellState } from "./actors.ts";
import { ACTORS, type Load, TENANT, TOP, type Told } from "./load.ts";

/** A reminder is a second late at most (R6), where no fault and no clock stands between. */
const LATE_MS = 1_000;
const STEPS = 200_000;

export async function checkAll(simulation: Simulation, load: Load): Promise<Violation[]> {
  const states = new Map(
    [...ACTORS, TOP].map((key): [string, CellState] => [key, stateOf(simulation, key)]),
  );
  const evidence: Evidence = { simulation, load, states };
  return [
    ...load.oddities,
    ...(await checkAnswers(evidence)),
    ...checkHistory(simulation.history.operations),
    ...checkNotes(evidence),
    ...checkOrder(evidence),
    ...checkReminders(evidence),
    ...checkResults(evidence),
  ];
}

interface Evidence {
  readonly simulation: Simulation;
  readonly load: Load;
  readonly states: ReadonlyMap<string, CellState>;
}

function stateOf({ broker }: Simulation, key: string): CellState {
  const ref = { kind: "cell", tenant: TENANT, key };
  const page = broker.pages.get(broker.key(ref, false))?.at(-1);
  return CellState.parse(page ? decodeRecord(page.data).state : {});
}

/** R8: when the faults are over every actor answers, and says what its record says (R1). */
async function checkAnswers({ simulation, states }: Evidence): Promise<Violation[]> {
  const { client } = simulation.client(`judge ${simulation.clock.monotonic()}`);
  const found: Violation[] = [];
  for (const [key, state] of states) {
    try {
      const handle = client.actor(Cell, TENANT, key);
      const { value } = await handle.read({});
      const { sum } = await handle.sum({});
      if (value !== state.value || sum !== state.sum)
        found.push({ rule: "R1", message: `${key} answers otherwise than its record says` });
    } catch (thrown) {
      found.push({ rule: "R8", message: `${key} does not answer: ${String(thrown)}` });
    }
  }
  return found;
}

export function checkHistory(operations: readonly Operation[]): Violation[] {
  const found: Violation[] = [];
  for (const [prefix, judge] of [
    ["value", (calls: Operation[]) => checkLinearizable(registerModel(0), calls, { steps: STEPS })],
    ["sum", (calls: Operation[]) => checkLinearizable(counterModel, calls, { steps: STEPS })],
  ] as const) {
    const { verdict, key, witness } = judge(
      operations.filter((operation) => operation.key.startsWith(prefix)),
    );
    if (verdict !== "violated") continue;
    const stuck = witness?.stuck.map(describeCall).join("; ") ?? "";
    found.push({ rule: "linearizable", message: `${key}: no order explains ${stuck}` });
  }
  return found;
}

function describeCall({ client, op, input, outcome, start, end }: Operation): string {
  const answer = outcome.type === "ok" ? JSON.stringify(outcome.output) : outcome.type;
  return `${client} ${op}(${JSON.stringify(input)}) = ${answer} [${start.toFixed(1)}, ${end.toFixed(1)}]`;
}

/** R2 and R3: what was stored is in the state once, or in the dead letters once; what was refused is in neither. */
function checkNotes({ simulation, load, states }: Evidence): Violation[] {
  const letters = simulation.broker.deadLetters.map(
    ({ actor, envelope }) => `${refName(actor)} ${textOf(envelope)}`,
  );
  const found: Violation[] = [];
  const judge = (told: Told, to: string, count: number, times: number, what: string) => {
    const { sender, text } = told;
    if (count < times && told.isStored)
      found.push({
        rule: "R2",
        message: `${what} ${text} of ${sender} to ${to}: ${count} of ${times}`,
      });
    if (count > times || (told.isRefused && count > 0))
      found.push({
        rule: "R3",
        message: `${what} ${text} of ${sender} to ${to}: ${count} of ${times}`,
      });
  };
  for (const told of load.told) {
    const at = (key: string) =>
      states.get(key)?.[told.type === "relay" ? "relayed" : "notes"] ?? [];
    const lost = (key: string) =>
      letters.filter((letter) => letter === `${TENANT}/cell/${key} ${told.text}`).length;
    if (told.type === "note" || told.type === "relay") {
      const handled = at(told.to).filter((text) => text === told.text).length;
      const dead = told.type === "note" ? lost(told.to) : 0;
      judge(told, told.to, handled + dead, 1, told.type);
      if (told.text.startsWith("poison") && handled > 0)
        found.push({ rule: "R5", message: `${told.text} left a trace at ${told.to}` });
    }
    if (told.type === "relay") checkRelay(told, { states, judge, lost });
  }
  return found;
}

function textOf(envelope: unknown): string {
  const { payload } = envelope as { readonly payload?: { readonly text?: unknown } };
  return String(payload?.text);
}

/** A relay that was handled has sent each of its notes, once. */
function checkRelay(
  told: Told,
  by: {
    readonly states: Evidence["states"];
    readonly judge: (told: Told, to: string, count: number, times: number, what: string) => void;
    readonly lost: (key: string) => number;
  },
): void {
  const wasHandled = by.states.get(told.to)?.relayed.includes(told.text) ?? false;
  for (const key of new Set(told.relayTo)) {
    const times = wasHandled ? told.relayTo.filter((to) => to === key).length : 0;
    const notes = by.states.get(key)?.notes.filter((text) => text === told.text).length ?? 0;
    by.judge({ ...told, isStored: wasHandled }, key, notes + by.lost(key), times, "relayed");
  }
}

/** R4: what one client sent to one actor one after the other stands there in that order. */
function checkOrder({ load, states }: Evidence): Violation[] {
  const found: Violation[] = [];
  for (const [key, { notes }] of states) {
    const senders = new Set(load.told.map(({ sender }) => sender));
    for (const sender of senders) {
      const sent = load.told.filter(
        (told) =>
          told.sender === sender && told.to === key && told.type === "note" && !told.isParallel,
      );
      const places = sent.map(({ text }) => notes.indexOf(text)).filter((place) => place >= 0);
      if (places.some((place, i) => i > 0 && place < (places[i - 1] ?? 0)))
        found.push({ rule: "R4", message: `${key} has ${sender}'s notes as ${notes.join(" ")}` });
    }
  }
  return found;
}

/** R6: every reminder rang once. */
function checkReminders({ simulation, load, states }: Evidence): Violation[] {
  const found: Violation[] = [];
  const isCalm = simulation.faults.length === 0;
  for (const { isStored, text, to, type } of load.told) {
    if (type !== "remind") continue;
    const [count, lateMs] = states.get(to)?.rings[text] ?? [0, 0];
    if (count > 1 || (isStored && count !== 1))
      found.push({ rule: "R6", message: `reminder ${text} at ${to} rang ${count} times` });
    if (isCalm && lateMs > LATE_MS)
      found.push({ rule: "R6", message: `reminder ${text} at ${to} rang ${lateMs} ms late` });
  }
  return found;
}

/** R3: every tool's result came once. */
function checkResults({ load, states }: Evidence): Violation[] {
  return load.told
    .filter(({ type }) => type === "run")
    .flatMap(({ isStored, text, to }) => {
      const count = states.get(to)?.results.filter((n) => String(n) === text).length ?? 0;
      if (count > 1)
        return [{ rule: "R3", message: `result ${text} came ${count} times to ${to}` }];
      if (count === 0 && isStored) return [{ rule: "R2", message: `no result ${text} at ${to}` }];
      return [];
    });
}
