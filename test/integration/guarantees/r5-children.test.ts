/** R5 of parents and children: each strategy restarts whom it names, once and in order, also while a node dies. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ActorRecord, decodeRecord } from "../../../runtime/record.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Warden, warden } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { Member, member, squad, squadOfKind } from "../../support/family.ts";
import { BROKERS, PATIENT } from "./brokers.ts";

const NAMES = ["c1", "c2", "c3", "c4"];
/** `c2` fails. Whom that restarts, and all that happens, in OTP's order. */
const STRATEGIES = [
  { strategy: "one-for-one", restarted: [0, 1, 0, 0], order: ["c2 stopped", "c2 active"] },
  {
    strategy: "rest-for-one",
    restarted: [0, 1, 1, 1],
    order: [
      ...["c2 stopped", "c4 stopped", "c3 stopped"],
      ...["c2 active", "c3 active", "c4 active"],
    ],
  },
  {
    strategy: "one-for-all",
    restarted: [1, 1, 1, 1],
    order: [
      ...["c2 stopped", "c4 stopped", "c3 stopped", "c1 stopped"],
      ...["c1 active", "c2 active", "c3 active", "c4 active"],
    ],
  },
] as const;

const squads = new Map(STRATEGIES.map(({ strategy }) => [strategy, squadOfKind(strategy)]));
const SUPERVISION = {
  escalateTo: { protocol: Warden, key: "main", message: "childFailed" },
} as const;

/** Every change of a member's standing, in the order of the commits, by all nodes. */
class Standings {
  readonly log: string[] = [];
  readonly #known = new Map<string, string>();

  watch(inner: Transport): Transport {
    const { records } = inner;
    return {
      ...inner,
      records: {
        ...records,
        commit: async (ref, data, options) => {
          const revision = await records.commit(ref, data, options);
          if (ref.kind === "member") this.#note(ref.key, decodeRecord(data));
          return revision;
        },
      },
    };
  }

  #note(key: string, { standing }: ActorRecord): void {
    const now = standing?.state ?? "active";
    if (now !== (this.#known.get(key) ?? "active")) this.log.push(`${key} ${now}`);
    this.#known.set(key, now);
  }
}

describe.each(BROKERS)("on $name", ({ on }) => {
  const standings = new Standings();
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [
        member({ supervision: SUPERVISION }),
        warden,
        ...STRATEGIES.map(({ strategy }) => squad({ strategy }, squads.get(strategy))),
      ],
      nodes: 2,
      on,
      wrap: (inner, name) => (name === "client" ? inner : standings.watch(inner)),
    });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  const recordOf = async (kind: string, key: string) => {
    const found = await cluster.transport.records.load({ kind, tenant: "acme", key }, false);
    return found && decodeRecord(found.data);
  };

  test.each(STRATEGIES)(
    "$strategy restarts them once, in OTP's order, while a node dies (R3, R5)",
    {
      timeout: 90_000,
    },
    async ({ order, restarted, strategy }) => {
      const keys = NAMES.map((name) => `${strategy}-${name}`);
      const members = keys.map((key) => cluster.client.actor(Member, "acme", key));
      await cluster.client.actor(squads.get(strategy)!, "acme", "s").hire({ keys }, PATIENT);
      for (const key of keys)
        await eventually(
          async () => (await recordOf("member", key))?.family?.parent !== undefined,
          {
            name: `${key} is adopted`,
          },
        );
      const restarts = async () =>
        (await Promise.all(members.map((one) => one.read({}, PATIENT)))).map((one) => one.restarts);
      const settled = (times: number) =>
        eventually(
          async () => {
            expect(await restarts()).toEqual(restarted.map((n) => n * times));
            expect((await recordOf(strategy, "s"))?.family?.plan).toBeUndefined();
          },
          { name: `restarted ${times} times`, within: 30_000 },
        );

      await members[1]!.fail({ text: "boom 1" }, PATIENT);
      await settled(1);
      const mine = standings.log.filter((line) => line.startsWith(strategy));
      expect(mine).toEqual(order.map((line) => `${strategy}-${line}`));

      await members[1]!.fail({ text: "boom 2" }, PATIENT);
      await cluster.crash("n1");
      await settled(2);
      await cluster.start("n1");
      await cluster.settled();
      await settled(2);
      const { letters } = await cluster.transport.deadLetters.list({ kind: "member", limit: 99 });
      const told = letters.filter(({ actor }) => keys.includes(actor.key));
      expect(told.map(({ actor, reason }) => `${actor.key} ${reason.message}`)).toEqual([
        `${strategy}-c2 boom 2`,
        `${strategy}-c2 boom 1`,
      ]);
      // Whom `escalateTo` names hears of each failure, once.
      const { failures } = await cluster.client.actor(Warden, "acme", "main").read({}, PATIENT);
      expect(failures.filter((line) => line.includes(`/${strategy}-`))).toEqual([
        `acme/member/${strategy}-c2: boom 1`,
        `acme/member/${strategy}-c2: boom 2`,
      ]);
    },
  );
});
