/** C1 and C2 of a consumer's delivery, against a connection of which the test decides what arrives. */
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { headers } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";
import type { BerthError } from "../../../protocols/errors.ts";
import { PullSource } from "../../../runtime/nats/pull-source.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const HEARTBEAT_MS = 2_000;

class Rig {
  readonly clock = new ManualClock();
  readonly pulls: { readonly batch: number; readonly reply: string }[] = [];
  readonly got: number[] = [];
  readonly ended: BerthError[] = [];
  readonly source: PullSource;
  #arrive: (message: Msg) => void = () => {};
  #number = 0;

  constructor() {
    this.source = new PullSource({
      connection: this.#connection(),
      clock: this.clock,
      stream: "S",
      consumer: "c",
      onMessage: (_message, { seq }) => this.got.push(seq),
      onEnd: (error) => this.ended.push(error),
    });
  }

  #connection(): NatsConnection {
    const closed = new Promise<void>(() => {});
    return {
      info: { max_payload: 1_048_576 },
      publish: (_subject: string, data: string, { reply }: { reply: string }) =>
        this.pulls.push({ batch: (JSON.parse(data) as { batch: number }).batch, reply }),
      subscribe: (_subject: string, { callback }: { callback: (e: null, m: Msg) => void }) => {
        this.#arrive = (message) => callback(null, message);
        return { closed, unsubscribe: () => {} };
      },
    } as unknown as NatsConnection;
  }

  /** The next delivery, or the one of that number. */
  deliver(number = this.#number + 1): void {
    this.#number = number;
    const reply = `$JS.ACK.S.c.1.${number * 10}.${number}.1700000000000000000.0`;
    this.#arrive({ subject: "berth.mail.0.t.k.a.user", reply } as unknown as Msg);
  }

  status(code: number, description: string, last?: number): void {
    const made = headers(code, description);
    if (last !== undefined) made.set("Nats-Last-Consumer", String(last));
    this.#arrive({ subject: this.pulls.at(-1)!.reply, headers: made } as unknown as Msg);
  }
}

describe("a consumer's delivery", () => {
  test("asks for more only when what it had was taken (C1, R7)", () => {
    const rig = new Rig();
    expect(rig.pulls.map(({ batch }) => batch)).toEqual([256]);
    for (let n = 0; n < 256; n += 1) rig.deliver();
    expect(rig.pulls).toHaveLength(1);
    for (let n = 0; n < 127; n += 1) rig.source.taken();
    expect(rig.pulls).toHaveLength(1);
    rig.source.taken();
    expect(rig.pulls.map(({ batch }) => batch)).toEqual([256, 128]);
    expect(rig.got).toHaveLength(256);
  });

  test("ends at a hole, before what is behind it is handed out (C2, R2)", () => {
    const rig = new Rig();
    rig.deliver();
    rig.deliver(3);
    rig.deliver(4);
    expect(rig.got).toEqual([10]);
    expect(rig.ended).toMatchObject([{ code: "broker.unavailable" }]);
  });

  test("ends when a heartbeat names a delivery that never came (C2, R2)", () => {
    const rig = new Rig();
    rig.deliver();
    rig.status(100, "Idle Heartbeat", 1);
    expect(rig.ended).toEqual([]);
    rig.status(100, "Idle Heartbeat", 2);
    expect(rig.ended).toMatchObject([{ code: "broker.unavailable" }]);
  });

  test("says that it was taken over when its consumer is deleted, once", () => {
    const rig = new Rig();
    rig.status(409, "Consumer Deleted");
    rig.status(409, "Consumer Deleted");
    expect(rig.ended).toMatchObject([{ code: "lease.lost" }]);
  });

  test("pulls again when a pull expires, at once, and after an election, a little later", async () => {
    const rig = new Rig();
    rig.status(408, "Request Timeout");
    expect(rig.pulls).toHaveLength(2);
    rig.status(409, "Leadership Change");
    expect(rig.pulls).toHaveLength(2);
    await rig.clock.advance(250);
    expect(rig.pulls).toHaveLength(3);
  });

  test("that falls silent is asked again twice, then given up; heartbeats keep it", async () => {
    const rig = new Rig();
    for (let n = 0; n < 10; n += 1) {
      rig.status(100, "Idle Heartbeat", 0);
      await rig.clock.advance(HEARTBEAT_MS);
    }
    expect(rig.pulls).toHaveLength(1);
    await rig.clock.advance(15_000);
    expect(rig.pulls).toHaveLength(3);
    await rig.clock.advance(5_000);
    expect(rig.ended).toMatchObject([{ code: "broker.unavailable" }]);
    expect(rig.clock.pending).toBe(0);
  });

  test("that is refused again and again is given up as one that is silent; a refusal or two are borne (C3)", async () => {
    const rig = new Rig();
    const refuseFor = async (ms: number) => {
      for (let waited = 0; waited < ms; waited += 250) {
        rig.status(503, "No Responders");
        await rig.clock.advance(250);
      }
    };
    await refuseFor(9_000);
    rig.status(408, "Request Timeout");
    await refuseFor(9_000);
    expect(rig.ended).toEqual([]);
    await refuseFor(12_000);
    expect(rig.ended).toMatchObject([{ code: "broker.unavailable" }]);
    const asked = rig.pulls.length;
    await rig.clock.advance(1_000);
    expect(rig.pulls).toHaveLength(asked);
    expect(rig.clock.pending).toBe(0);
  });

  test("that was refused asks once, and not beside a pull that was made since (C1)", async () => {
    const rig = new Rig();
    rig.status(409, "Leadership Change");
    rig.status(409, "Leadership Change");
    await rig.clock.advance(250);
    expect(rig.pulls).toHaveLength(2);
  });
});
