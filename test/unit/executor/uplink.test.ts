import { pack, unpack } from "msgpackr";
import { describe, expect, it } from "vitest";
import { Contact } from "../../../executor/contact.ts";
import { deferred } from "../../../executor/deferred.ts";
import { Uplink } from "../../../executor/uplink.ts";
import type { AskReply, AskRequest } from "../../../protocols/envelope.ts";
import { BerthError } from "../../../protocols/errors.ts";
import type { Frame } from "../../../protocols/executor.ts";
import { orderOf } from "../../support/executor-rig.ts";
import { ManualClock } from "../../support/manual-clock.ts";

/** A sending as the broker gives it to one of those that listen. */
interface Sending {
  readonly atMs: number;
  readonly request: AskRequest;
  readonly frame: number;
  /** Resolves when what follows from it is done. */
  answer(reply?: AskReply): Promise<void>;
  fail(): Promise<void>;
}

/** An uplink, and every sending of it; its answer is for the test to give. */
function openUplink() {
  const clock = new ManualClock();
  const sendings: Sending[] = [];
  const refusals: string[] = [];
  const uplink = new Uplink({
    order: orderOf("shell", ""),
    ...{ worker: "wrk_1", partitions: 8, clock, contact: new Contact(clock) },
    wire: {
      reconnected: () => new AbortController().signal,
      request(_subject, data, timeoutMs) {
        const { promise, resolve, reject } = deferred<Uint8Array>();
        const request = unpack(data) as AskRequest;
        const { frame } = request.payload as Frame;
        const expire = () => reject(new BerthError("ask.timeout"));
        clock.after(timeoutMs, expire);
        sendings.push({
          ...{ atMs: clock.monotonic(), request, frame },
          answer(reply = { ok: true, payload: { acked: frame } }) {
            resolve(pack(reply));
            return clock.advance(0);
          },
          fail() {
            expire();
            return clock.advance(0);
          },
        });
        return promise;
      },
    },
    onRefused: ({ code }) => refusals.push(code),
    onPressure: () => {},
  });
  /** Resolves when it has been sent, or waits for what was. */
  const print = (text: string) => {
    const data = { stream: "stdout", text, offset: 0 };
    uplink.push({ type: "agent.output", at: clock.now(), data });
    return clock.advance(0);
  };
  return { clock, sendings, refusals, print };
}

const times = (sendings: readonly Sending[]) => sendings.map(({ atMs }) => atMs);
const frames = (sendings: readonly Sending[]) => sendings.map(({ frame }) => frame);

describe("a frame that one who stands still was given", () => {
  it("is sent again after half a second, and goes on with the answer of another (U2)", async () => {
    const { clock, sendings, print } = openUplink();
    await print("a");
    await clock.advance(499);
    expect(frames(sendings)).toEqual([1]);
    await clock.advance(1);
    expect(frames(sendings)).toEqual([1, 1]);
    await sendings[1]?.answer();
    await print("b");
    expect(frames(sendings)).toEqual([1, 1, 2]);
  });

  it("says that it was sent before, and is otherwise the same, so that its twin answers both (U2)", async () => {
    const { clock, sendings, print } = openUplink();
    await print("a");
    await clock.advance(500);
    const [first, second] = sendings.map(({ request }) => request);
    expect(first?.again).toBeUndefined();
    expect(second).toEqual({ ...first, again: true });
  });

  it("is sent thrice in the time of one ask, and then anew after a pause (G2, G3)", async () => {
    const { clock, sendings, print } = openUplink();
    await print("a");
    await clock.advance(2_499);
    expect(times(sendings)).toEqual([0, 500, 1_500]);
    await clock.advance(51);
    expect(times(sendings)).toEqual([0, 500, 1_500, 2_550]);
    expect(sendings[3]?.request.again).toBeUndefined();
    expect(sendings[3]?.request.id).not.toBe(sendings[0]?.request.id);
  });
});

describe("an owner that is only slow", () => {
  it("is heard when it answers what was sent first, and nothing more is sent of it (G1)", async () => {
    const { clock, sendings, print } = openUplink();
    await print("a");
    await clock.advance(2_000);
    await sendings[0]?.answer();
    await clock.advance(60_000);
    expect(times(sendings)).toEqual([0, 500, 1_500]);
  });

  it("ends the attempt when it refuses any sending for good (U5)", async () => {
    const { clock, sendings, refusals, print } = openUplink();
    await print("a");
    await clock.advance(500);
    await sendings[0]?.answer({ ok: false, error: { code: "job.superseded", message: "" } });
    await clock.advance(60_000);
    expect(refusals).toEqual(["job.superseded"]);
    expect(sendings).toHaveLength(2);
  });
});

it("a frame that nobody hears is sent anew after its pause, and not beside that (G3)", async () => {
  const { clock, sendings, print } = openUplink();
  await print("a");
  await sendings[0]?.fail();
  await clock.advance(499);
  expect(times(sendings)).toEqual([0, 50]);
});
