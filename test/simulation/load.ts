/** What clients do in a schedule, and what they were told: the evidence that the checks judge. */
import { asBerthError } from "../../protocols/errors.ts";
import type { CallOptions } from "../../runtime/client.ts";
import { outcomeOfError } from "../../runtime/testkit/history.ts";
import type { Random } from "../../runtime/testkit/random.ts";
import type { Simulation } from "../../runtime/testkit/simulation.ts";
import { Cell } from "./actors.ts";

export const TENANT = "acme";
export const ACTORS = ["a", "b", "c", "d"] as const;
/** Receives relays and sends none. */
export const TOP = "e";
const CLIENTS = 3;
const CALLS = 20;
/** Parallel tells of a flood. */
const FLOOD = 9;
const PAUSE_MS = { from: 0, to: 600 } as const;
const TIMEOUT_MS = { from: 700, to: 5_000 } as const;
/** A call must end this soon after its time-out. */
const SLACK_MS = 1_000;

/** A tell: what it was, and whether its sender was told that it is stored. */
export interface Told {
  readonly sender: string;
  readonly to: string;
  readonly type: "note" | "urgent" | "relay" | "remind" | "run";
  /** What names it in the receiver's state. */
  readonly text: string;
  /** Of relays: the receivers of its notes. */
  readonly relayTo: readonly string[];
  readonly isStored: boolean;
  /** It is certain that it was not stored. */
  readonly isRefused: boolean;
  /** Sent while the one before it had not ended: in no order with it. */
  readonly isParallel: boolean;
}

export class Load {
  readonly #simulation: Simulation;
  readonly told: Told[] = [];
  /** What clients saw that must never be seen. */
  readonly oddities: { readonly rule: string; readonly message: string }[] = [];
  readonly #everyCall: boolean;

  constructor(simulation: Simulation, everyCall: boolean) {
    this.#simulation = simulation;
    this.#everyCall = everyCall;
  }

  async run(): Promise<void> {
    const clients = Array.from({ length: CLIENTS }, (_, i) => this.#client(`c${i + 1}`));
    await Promise.all(clients);
  }

  async #client(name: string): Promise<void> {
    const { clock } = this.#simulation;
    const random = this.#simulation.random.fork(name);
    const user = new User(this, this.#simulation, name, random);
    for (let i = 0; i < CALLS; i += 1) {
      await clock.sleep(random.int(PAUSE_MS.from, PAUSE_MS.to));
      await user.act(i);
    }
  }

  odd(rule: string, message: string): void {
    this.oddities.push({ rule, message });
  }

  failed(thrown: unknown): void {
    const { code } = asBerthError(thrown);
    if (this.#everyCall && code !== "actor.mailbox_full")
      this.odd("R8", `a call failed with ${code} at ${this.#simulation.clock.monotonic()} ms`);
    if (!EXPECTED.has(code)) this.odd("errors", `a client met ${code}: ${String(thrown)}`);
  }
}

/** What a caller may meet while things go wrong: each says that another try is in order. */
const EXPECTED = new Set([
  "actor.failed",
  "actor.mailbox_full",
  "actor.moved",
  "actor.overloaded",
  "actor.stopped",
  "ask.timeout",
  "broker.unavailable",
  "lease.lost",
  "node.draining",
  "record.conflict",
]);

type Act = (i: number) => Promise<void>;

/** One client: one call after the other, but for floods. */
class User {
  readonly #load: Load;
  readonly #simulation: Simulation;
  readonly #name: string;
  readonly #random: Random;
  readonly #handle: (key: string) => ReturnType<typeof handleOf>;
  readonly #acts: readonly Act[];
  /** Of all kinds of calls, those that this seed uses. */
  readonly #share: number;
  readonly #actors: number;
  /** Notes to an actor that were stored, in order: an ask after them sees them. */
  readonly #stored = new Map<string, string[]>();

  constructor(load: Load, simulation: Simulation, name: string, random: Random) {
    this.#load = load;
    this.#simulation = simulation;
    this.#name = name;
    this.#random = random;
    const { client } = simulation.client(name);
    this.#handle = (key) => handleOf(client, key);
    const swarm = simulation.random.fork("swarm");
    this.#actors = swarm.int(1, ACTORS.length);
    this.#share = swarm.between(0.15, 1);
    this.#acts = this.#choose();
  }

  async act(i: number): Promise<void> {
    await this.#random.pick(this.#acts)(i);
  }

  /**
   * A few kinds of calls on a few actors, other ones for each seed: bugs hide in mixtures where every kind is rare
   * (Groce and others, "Swarm Testing", 2012).
   */
  #choose(): readonly Act[] {
    const all: Act[] = [
      (i) => this.#write(i),
      () => this.#read(),
      () => this.#read(),
      () => this.#add(),
      () => this.#add(),
      () => this.#sum(),
      (i) => this.#note(i),
      (i) => this.#note(i),
      () => this.#notes(),
      (i) => this.#relay(i),
      (i) => this.#relay(i),
      (i) => this.#remind(i),
      (i) => this.#run(i),
      (i) => this.#poison(i),
      (i) => this.#flood(i),
    ];
    const chosen = all.filter(() => this.#random.chance(this.#share));
    return chosen.length > 0 ? chosen : all;
  }

  #key(): (typeof ACTORS)[number] {
    return this.#random.pick(ACTORS.slice(0, this.#actors));
  }

  async #ask<T>(
    call: { readonly key: string; readonly op: string; readonly input: unknown },
    work: (options: CallOptions) => Promise<T>,
  ): Promise<T | undefined> {
    const { history } = this.#simulation;
    return this.#bounded(call.op, (options) =>
      history.run({ client: this.#name, ...call }, () => work(options)),
    );
  }

  /** R7: whatever happens, a call ends in time. */
  async #bounded<T>(
    what: string,
    work: (options: CallOptions) => Promise<T>,
  ): Promise<T | undefined> {
    const { clock } = this.#simulation;
    const timeoutMs = this.#random.int(TIMEOUT_MS.from, TIMEOUT_MS.to);
    const startedAt = clock.monotonic();
    try {
      return await work({ timeoutMs });
    } catch (thrown) {
      this.#load.failed(thrown);
      return undefined;
    } finally {
      const took = clock.monotonic() - startedAt;
      // A send that is on its way when the time is up is waited for.
      if (took > timeoutMs + SEND_MS + SLACK_MS)
        this.#load.odd("R7", `${this.#name} waited ${took} ms of ${timeoutMs} for ${what}`);
    }
  }

  async #write(i: number): Promise<void> {
    const key = this.#key();
    const value = Number(`${this.#name.slice(1)}${String(i).padStart(3, "0")}`);
    await this.#ask({ key: `value ${key}`, op: "write", input: value }, (options) =>
      this.#handle(key).write({ value }, options),
    );
  }

  async #read(): Promise<void> {
    const key = this.#key();
    await this.#ask({ key: `value ${key}`, op: "read", input: null }, async (options) => {
      const { value } = await this.#handle(key).read({}, options);
      return value;
    });
  }

  async #add(): Promise<void> {
    const [key, n] = [this.#key(), this.#random.int(1, 3)];
    await this.#ask({ key: `sum ${key}`, op: "add", input: n }, async (options) => {
      const { sum } = await this.#handle(key).add({ n }, options);
      return sum;
    });
  }

  async #sum(): Promise<void> {
    const key = this.#key();
    await this.#ask({ key: `sum ${key}`, op: "read", input: null }, async (options) => {
      const { sum } = await this.#handle(key).sum({}, options);
      return sum;
    });
  }

  /** R4: an ask sees what its client had told before. */
  async #notes(): Promise<void> {
    const key = this.#key();
    const expected = [...(this.#stored.get(key) ?? [])];
    const answer = await this.#bounded("notes", (options) => this.#handle(key).notes({}, options));
    if (!answer) return;
    const missing = expected.filter((text) => !answer.notes.includes(text));
    if (missing.length > 0)
      this.#load.odd("R4", `${this.#name} asked ${key} and missed ${missing.join(", ")}`);
  }

  async #tell(
    told: Pick<Told, "to" | "type" | "text"> & Partial<Told>,
    work: (options: CallOptions) => Promise<void>,
  ): Promise<void> {
    const base = { sender: this.#name, relayTo: [], isParallel: false, ...told };
    try {
      const isStored = await this.#bounded(told.type, async (options) => {
        try {
          await work(options);
        } catch (thrown) {
          const isRefused = outcomeOfError(thrown).type === "failed";
          this.#load.told.push({ ...base, isStored: false, isRefused });
          throw thrown;
        }
        return true;
      });
      if (!isStored) return;
    } finally {
      // Written down below or above.
    }
    this.#load.told.push({ ...base, isStored: true, isRefused: false });
    if (told.type === "note" && !told.text.startsWith("poison"))
      this.#stored.set(told.to, [...(this.#stored.get(told.to) ?? []), told.text]);
  }

  async #note(i: number): Promise<void> {
    const [to, text] = [this.#key(), `${this.#name}#${i}`];
    await this.#tell({ to, type: "note", text }, (options) =>
      this.#handle(to).note({ text }, options),
    );
  }

  async #poison(i: number): Promise<void> {
    const [to, text] = [this.#key(), `poison ${this.#name}#${i}`];
    await this.#tell({ to, type: "note", text }, (options) =>
      this.#handle(to).note({ text }, options),
    );
  }

  async #flood(i: number): Promise<void> {
    const to = this.#key();
    const texts = Array.from({ length: FLOOD }, (_, n) => `${this.#name}#${i}.${n}`);
    await Promise.all(
      texts.map((text) =>
        this.#tell({ to, type: "note", text, isParallel: true }, (options) =>
          this.#handle(to).note({ text }, options),
        ),
      ),
    );
  }

  async #relay(i: number): Promise<void> {
    const [by, text] = [this.#key(), `${this.#name}#${i}`];
    // Upwards only: actors that fill each other's mailboxes would wait for each other.
    const above = [...ACTORS, TOP].slice(ACTORS.indexOf(by) + 1);
    const relayTo = Array.from({ length: this.#random.int(1, 3) }, () => this.#random.pick(above));
    await this.#tell({ to: by, type: "relay", text, relayTo }, (options) =>
      this.#handle(by).relay({ text, to: relayTo }, options),
    );
  }

  async #remind(i: number): Promise<void> {
    const [to, text] = [this.#key(), `${this.#name}-${i}`];
    const afterMs = this.#random.int(0, 6_000);
    await this.#tell({ to, type: "remind", text }, (options) =>
      this.#handle(to).remind({ name: text, afterMs }, options),
    );
  }

  async #run(i: number): Promise<void> {
    const n = Number(`${this.#name.slice(1)}${String(i).padStart(3, "0")}`);
    const to = this.#key();
    await this.#tell({ to, type: "run", text: String(n * 2) }, (options) =>
      this.#handle(to).run({ n }, options),
    );
  }
}

/** One attempt to store a message. */
const SEND_MS = 3_000;

function handleOf(client: ReturnType<Simulation["client"]>["client"], key: string) {
  return client.actor(Cell, TENANT, key);
}
