/**
 * What one client does all the time.
 *
 * Invariants:
 * L1 A numbered tell is sent again, with the same id, until it is acknowledged; the next number waits for it. So a
 *    receiver hears every number once and in order, or a promise was broken.
 * L2 Counters and registers are used for a short while each: what stays unknown of a call to one of them must not
 *    make the judge's search long.
 */
import { asBerthError } from "../../protocols/errors.ts";
import type { Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { recordHistory } from "../../runtime/testkit/history.ts";
import { Alarm, Counter, Flooded, Frail, Ledger, Register, Relay } from "./actors.ts";
import { MAILBOX_CAPACITY, sharedClock, TENANT } from "./connection.ts";
import type { Findings, Flood, ReminderSet, Told } from "./findings.ts";
import type { Random } from "./random.ts";

export interface LoadOptions {
  readonly client: Client;
  readonly name: string;
  readonly random: Random;
  /** Aborts when the load is over; what was begun is still brought to an end. */
  readonly signal: AbortSignal;
}

const ASK_MS = 3_000;
const TELL_MS = 15_000;
/** After the load is over a sender still tries this long to hear of its last tell. */
const LAST_WORDS_MS = 45_000;
/** L2. */
const KEY_LIFE_MS = 20_000;
const COUNTERS = 4;
const REGISTERS = 4;
const LEDGERS = 4;
const PAUSE_MS = 15;

export class Load {
  readonly #options: LoadOptions;
  readonly #history = recordHistory(sharedClock);
  readonly #told: Told[] = [];
  readonly #reminders: ReminderSet[] = [];
  readonly #poisons: string[] = [];
  readonly #floods: Flood[] = [];
  readonly #tally: Record<string, Record<string, number>> = {};

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  get tally(): Findings["tally"] {
    return this.#tally;
  }

  /** Resolves when the signal has aborted and everything begun has ended. */
  async run(): Promise<Findings> {
    const { name } = this.#options;
    await Promise.all([
      ...times(3, (i) => this.#counters(`${name}.${i}`)),
      ...times(3, (i) => this.#registers(`${name}.${i}`)),
      ...times(3, (i) => this.#senders(`${name}.t${i}`)),
      ...times(2, (i) => this.#relays(`${name}.r${i}`, i)),
      this.#alarms(),
      this.#frail(),
      this.#flood(),
    ]);
    return {
      operations: this.#history.operations,
      told: this.#told,
      reminders: this.#reminders,
      poisons: this.#poisons,
      floods: this.#floods,
      tally: this.#tally,
    };
  }

  /** Calls again and again, with a pause of random length between. */
  async #forever(pauseMs: number, work: (round: number) => Promise<void>): Promise<void> {
    const { random, signal } = this.#options;
    for (let round = 0; !signal.aborted; round += 1) {
      await work(round);
      await systemClock.sleep(random.int(1, 2 * pauseMs), signal);
    }
  }

  #count(kind: string, code: string): void {
    const row = this.#tally[kind] ?? {};
    this.#tally[kind] = row;
    row[code] = (row[code] ?? 0) + 1;
  }

  /** The call's outcome is counted and recorded, never thrown. */
  async #recorded(
    client: string,
    key: string,
    call: { readonly op: string; readonly input: unknown; readonly work: () => Promise<unknown> },
  ): Promise<void> {
    const kind = `${key.split(":")[0]}.${call.op}`;
    try {
      await this.#history.run({ client, key, op: call.op, input: call.input }, call.work);
      this.#count(kind, "ok");
    } catch (thrown) {
      this.#count(kind, asBerthError(thrown).code);
    }
  }

  #keyNow(kinds: number): string {
    const life = Math.floor(systemClock.now() / KEY_LIFE_MS);
    return `${this.#options.random.int(1, kinds)}-${life}`;
  }

  #counters(client: string): Promise<void> {
    return this.#forever(PAUSE_MS, async () => {
      const { random } = this.#options;
      const key = this.#keyNow(COUNTERS);
      const counter = this.#options.client.actor(Counter, TENANT, key);
      const options = { timeoutMs: ASK_MS };
      const n = random.int(1, 999);
      const isRead = random.next() < 0.3;
      await this.#recorded(client, `counter:${key}`, {
        op: isRead ? "read" : "add",
        input: isRead ? null : n,
        work: async () =>
          (await (isRead ? counter.read({}, options) : counter.add({ n }, options))).total,
      });
    });
  }

  #registers(client: string): Promise<void> {
    let known: string | null = null;
    return this.#forever(PAUSE_MS, async (round) => {
      const { random } = this.#options;
      const key = this.#keyNow(REGISTERS);
      const register = this.#options.client.actor(Register, TENANT, key);
      const options = { timeoutMs: ASK_MS };
      const value = `${client}#${round}`;
      const op = random.pick(["read", "read", "write", "cas"] as const);
      const change = { from: known, to: value };
      const work = async () => {
        if (op === "write") return void (await register.write({ value }, options));
        if (op === "cas") return (await register.cas(change, options)).wrote;
        known = (await register.read({}, options)).value;
        return known;
      };
      const input = { read: null, write: value, cas: change }[op];
      await this.#recorded(client, `register:${key}`, { op, input, work });
    });
  }

  /** L1. False when it could not be told whether the message was stored. */
  async #insist(
    kind: string,
    told: Told,
    send: (n: number, id: string) => Promise<void>,
  ): Promise<void> {
    const { signal } = this.#options;
    const n = told.acked + 1;
    const id = `${told.sender}-${told.key}-${n}`;
    told.unsure = 1;
    for (let until = Number.POSITIVE_INFINITY; systemClock.monotonic() < until; ) {
      try {
        await send(n, id);
        told.acked = n;
        told.unsure = 0;
        this.#count(kind, "ok");
        return;
      } catch (thrown) {
        this.#count(kind, asBerthError(thrown).code);
      }
      if (signal.aborted && until === Number.POSITIVE_INFINITY)
        until = systemClock.monotonic() + LAST_WORDS_MS;
      await systemClock.sleep(100);
    }
  }

  #newTold(kind: Told["kind"], key: string, sender: string): Told {
    const told: Told = { kind, key, sender, acked: 0, unsure: 0 };
    this.#told.push(told);
    return told;
  }

  #senders(sender: string): Promise<void> {
    const all = times(LEDGERS, (i) => this.#newTold("ledger", `ledger-${i}`, sender));
    return this.#forever(PAUSE_MS, async () => {
      const told = this.#options.random.pick(all);
      const to = this.#options.client.actor(Ledger, TENANT, told.key);
      await this.#insist("tell", told, (n, id) =>
        to.note({ sender, n }, { id, timeoutMs: TELL_MS }),
      );
    });
  }

  #relays(sender: string, i: number): Promise<void> {
    const told = this.#newTold("relay", `relay-${i}`, sender);
    const relay = this.#options.client.actor(Relay, TENANT, told.key);
    return this.#forever(PAUSE_MS, () =>
      this.#insist("relay", told, (n, id) =>
        relay.forward({ sender, n, to: "relayed" }, { id, timeoutMs: TELL_MS }),
      ),
    );
  }

  /** Sets reminders, and cancels some of them. */
  #alarms(): Promise<void> {
    const { client, name, random } = this.#options;
    return this.#forever(200, async (round) => {
      const key = `alarm-${random.int(1, 10)}`;
      const alarm = client.actor(Alarm, TENANT, key);
      const reminder: ReminderSet = { key, name: `${name}-${round}`, cancelled: false };
      const afterMs = random.int(1_000, 6_000);
      const isCancelled = random.next() < 0.2;
      try {
        await alarm.set({ name: reminder.name, afterMs }, { timeoutMs: LAST_WORDS_MS });
        this.#reminders.push(reminder);
        this.#count("reminder", "ok");
        if (!isCancelled) return;
        await alarm.cancel({ name: reminder.name }, { timeoutMs: LAST_WORDS_MS });
        reminder.cancelled = true;
        this.#count("cancel", "ok");
      } catch (thrown) {
        this.#count("reminder", asBerthError(thrown).code);
      }
    });
  }

  /** Good messages, bad ones, and asks that fail. */
  #frail(): Promise<void> {
    const { client, name } = this.#options;
    const told = this.#newTold("frail", "frail", `${name}.f`);
    const frail = client.actor(Frail, TENANT, told.key);
    return this.#forever(250, async (round) => {
      await this.#insist("fine", told, (n, id) =>
        frail.fine({ sender: told.sender, n }, { id, timeoutMs: TELL_MS }),
      );
      if (round % 4 === 0) {
        const id = `${name}-poison-${round}`;
        await frail.poison({ id }, { id, timeoutMs: LAST_WORDS_MS }).then(
          () => {
            this.#poisons.push(id);
            this.#count("poison", "ok");
          },
          (thrown: unknown) => this.#count("poison", asBerthError(thrown).code),
        );
      }
      if (round % 4 === 2)
        await frail.fail({}, { timeoutMs: ASK_MS }).catch((thrown: unknown) => {
          const { code } = asBerthError(thrown);
          this.#count("failing ask", code === "actor.failed" ? "ok" : code);
        });
    });
  }

  /** More at once than a mailbox holds, to an actor of this client's own. */
  #flood(): Promise<void> {
    const { client, name } = this.#options;
    const flood: Flood = { key: `flooded-${name}`, accepted: 0, unsure: 0, full: 0 };
    this.#floods.push(flood);
    const flooded = client.actor(Flooded, TENANT, flood.key);
    return this.#forever(8_000, async () => {
      const drop = async (n: number) => {
        try {
          await flooded.drop({ n }, { timeoutMs: TELL_MS });
          flood.accepted += 1;
          this.#count("flood", "ok");
        } catch (thrown) {
          const { code } = asBerthError(thrown);
          if (code === "actor.mailbox_full") flood.full += 1;
          else flood.unsure += 1;
          this.#count("flood", code);
        }
      };
      await Promise.all(times(2 * MAILBOX_CAPACITY, drop));
    });
  }
}

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}
