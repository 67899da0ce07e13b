/** R3 and R5: wherever a node ends while children are restarted or stopped, no restart is lost and none is doubled. */
import { describe, expect, test } from "vitest";
import { refName } from "../../../protocols/ids.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import type { ChildPolicy } from "../../../runtime/children.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import type { PartitionHost } from "../../../runtime/partition-host.ts";
import type { ActorRecord } from "../../../runtime/record.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { Member, member, Squad, squad } from "../../support/family.ts";
import { partitionHost } from "../../support/host.ts";

const KEYS = ["c1", "c2", "c3"];

interface Outcome {
  /** Restarts of each child. */
  readonly restarts: number[];
  readonly standings: (string | undefined)[];
  readonly letters: string[];
}

/** One scene on one partition: c2 fails. The host ends at the `fatal`th step of a turn after that, and an heir takes over. */
class Scene {
  readonly #broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
  readonly #client = actorClient({ transport: connectMemory(this.#broker), clock: systemClock });
  readonly #policy: Partial<ChildPolicy>;
  readonly #dead = deferred();
  #fatal = Number.POSITIVE_INFINITY;
  #steps = 0;

  constructor(policy: Partial<ChildPolicy>) {
    this.#policy = policy;
  }

  /** How many steps there were, and what came of it. */
  async play(fatal: number): Promise<{ readonly steps: number; readonly outcome: Outcome }> {
    const host = this.#host(1);
    await host.open();
    await this.#client.actor(Squad, "acme", "s").hire({ keys: KEYS });
    await this.#quiet();
    this.#steps = 0;
    this.#fatal = fatal;
    await this.#client.actor(Member, "acme", "c2").fail({ text: "boom" });
    if (fatal === Number.POSITIVE_INFINITY) await this.#quiet();
    else await this.#dead.promise;
    const steps = this.#steps;
    await host.close();
    const heir = this.#host(2);
    await heir.open();
    await this.#quiet();
    const outcome = this.#outcome();
    await heir.close();
    return { steps, outcome };
  }

  /** After the fatal step no other turn gets on either: the process is gone. */
  #host(epoch: number): PartitionHost {
    return partitionHost({
      transport: connectMemory(this.#broker),
      definitions: [member(), squad(this.#policy)],
      epoch,
      onStep: () => {
        if (epoch > 1) return undefined;
        this.#steps += 1;
        if (this.#steps < this.#fatal) return undefined;
        this.#dead.resolve();
        return new Promise(() => {});
      },
    });
  }

  /** Nothing waits in any mailbox, no outbox is open, and the squad has no plan. */
  #quiet(): Promise<unknown> {
    return eventually(
      () =>
        this.#broker.mail.every((mail) => mail.length === 0) &&
        this.#broker.schedules.size === 0 &&
        this.#record("squad", "s").family !== undefined &&
        this.#record("squad", "s").family?.plan === undefined &&
        KEYS.every((key) => this.#record("member", key).family?.parent !== undefined),
      { name: "all is quiet" },
    );
  }

  #record(kind: string, key: string): ActorRecord {
    const page = this.#broker.pages.get(`record:${refName({ tenant: "acme", kind, key })}`)?.at(-1);
    return JSON.parse(page ? new TextDecoder().decode(page.data) : "{}") as ActorRecord;
  }

  #outcome(): Outcome {
    const members = KEYS.map((key) => this.#record("member", key));
    return {
      restarts: members.map(({ state }) => (state as { restarts?: number }).restarts ?? 0),
      standings: [...members, this.#record("squad", "s")].map(({ standing }) => standing?.state),
      letters: this.#broker.deadLetters.map(({ actor, reason }) => `${actor.key} ${reason.code}`),
    };
  }
}

const SCENES: readonly (readonly [string, Partial<ChildPolicy>, Outcome])[] = [
  [
    "one-for-one",
    { strategy: "one-for-one" },
    {
      restarts: [0, 1, 0],
      standings: [undefined, undefined, undefined, undefined],
      letters: ["c2 actor.failed"],
    },
  ],
  [
    "rest-for-one",
    { strategy: "rest-for-one" },
    {
      restarts: [0, 1, 1],
      standings: [undefined, undefined, undefined, undefined],
      letters: ["c2 actor.failed"],
    },
  ],
  [
    "one-for-all",
    { strategy: "one-for-all" },
    {
      restarts: [1, 1, 1],
      standings: [undefined, undefined, undefined, undefined],
      letters: ["c2 actor.failed"],
    },
  ],
  [
    "too many failures",
    { intensity: { failures: 0, withinMs: 1 } },
    {
      restarts: [0, 0, 0],
      standings: ["stopped", "stopped", "stopped", "stopped"],
      letters: ["c2 actor.failed", "s actor.children_failed"],
    },
  ],
];

describe.each(SCENES)("a node killed at any step of a turn, %s", (_, policy, expected) => {
  test("leaves neither a lost nor a doubled restart, stop or letter (R2, R3, R5)", async () => {
    const { steps, outcome } = await new Scene(policy).play(Number.POSITIVE_INFINITY);
    expect(outcome).toEqual(expected);
    // Every turn that writes has three steps: handled, committed, published.
    expect(steps).toBeGreaterThanOrEqual(9);
    for (let fatal = 1; fatal <= steps; fatal += 1) {
      const played = await new Scene(policy).play(fatal);
      expect(played.outcome, `killed at step ${fatal} of ${steps}`).toEqual(expected);
    }
  }, 60_000);
});
