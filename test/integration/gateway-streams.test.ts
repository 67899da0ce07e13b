/** The gateway's readers on a real broker: storms, gaps, slow readers, a broker that dies. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { STREAMS } from "../../protocols/subjects.ts";
import { type NatsGateways, startNatsGateways } from "../support/nats-gateways.ts";
import { openStream } from "../support/stream-client.ts";

let rig: NatsGateways;
beforeAll(async () => {
  rig = await startNatsGateways(1, {
    tuning: { slowReaderMs: 500, closeGraceMs: 5_000, highWaterBytes: 256 * 1024 },
  });
}, 60_000);
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
}, 30_000);

const upTo = (last: number, first = 1) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

async function running(prompt: string) {
  const job = await rig.submit(prompt, rig.keys.enterprise);
  const attempt = await rig.executor.attempt(job.id);
  await attempt.start();
  return { ...job, attempt };
}

describe("readers on a real broker", () => {
  it("come back in storms on two gateways and see every event once, in order", async () => {
    const { session_id, attempt } = await running("storm");
    const second = await rig.another();
    const total = 900;
    const read = async (n: number): Promise<number[]> => {
      const seen: number[] = [];
      while ((seen.at(-1) ?? 0) < total + 4) {
        const url = (n + seen.length) % 2 === 0 ? rig.url : second.url;
        const stream = await openStream(url, rig.keys.enterprise);
        stream.send({ type: "subscribe", session_id, after: seen.at(-1) ?? 0 });
        const enough = seen.length + 31 * (n + 1);
        await stream.until(({ seq }) => {
          seen.push(seq);
          return seen.length >= enough || seq === total + 4;
        });
        stream.drop();
      }
      return seen;
    };
    const readers = Array.from({ length: 10 }, (_, n) => read(n));
    for (let i = 0; i < total / 3; i += 1) await attempt.print(`${i}a`, `${i}b`, `${i}c`);
    await attempt.succeed();
    for (const seen of await Promise.all(readers)) expect(seen).toEqual(upTo(total + 4));
  }, 60_000);

  it("are told of a gap when their cursor is older than what is kept", async () => {
    const { session_id, attempt } = await running("gap");
    for (let i = 0; i < 20; i += 1) await attempt.print(`${i}`);
    const nc = await connect({ servers: rig.nats.url });
    const jsm = await jetstreamManager(nc);
    await jsm.streams.purge(STREAMS.journal, {
      filter: `berth.journal.*.t-ent.session.${session_id}`,
      keep: 5,
    });
    await nc.close();
    const stream = await openStream(rig.url, rig.keys.enterprise);
    stream.send({ type: "subscribe", session_id, after: 2 });
    await stream.until(({ seq }) => seq === 23);
    const [gap, ...rest] = stream.events;
    expect(gap).toMatchObject({ type: "session.gap", seq: 18, data: { oldest: 19 } });
    expect(rest.map(({ seq }) => seq)).toEqual(upTo(23, 19));
    stream.close();
    const page = await rig.api("GET", `/v1/sessions/${session_id}/events?after=2`, {
      key: rig.keys.enterprise,
    });
    const { data } = (await page.json()) as { data: { type: string }[] };
    expect(data[0]?.type).toBe("session.gap");
    expect(data.length).toBe(6);
    await attempt.succeed();
  });

  it("that stop reading are told with their last seq and cut, and others are not disturbed", async () => {
    const { session_id, attempt } = await running("flood");
    const good = await openStream(rig.url, rig.keys.enterprise);
    const slow = await openStream(rig.url, rig.keys.enterprise);
    for (const stream of [good, slow]) {
      stream.send({ type: "subscribe", session_id, after: 0 });
      await stream.frame("subscribed");
    }
    slow.socket.pause();
    const line = "x".repeat(60_000);
    const before = process.memoryUsage().rss;
    let sent = 3;
    let isCut = false;
    void slow.closed.then(() => {
      isCut = true;
    });
    for (let i = 0; i < 150; i += 1) {
      await attempt.print(line, line);
      sent += 2;
    }
    await attempt.succeed();
    await good.until(({ seq }) => seq === sent + 1);
    expect(good.events.map(({ seq }) => seq)).toEqual(upTo(sent + 1));
    expect(isCut).toBe(false);
    slow.socket.resume();
    expect(await slow.closed).toBe(1013);
    const told = await slow.frame("error");
    expect(told).toMatchObject({ code: "session.slow_reader", seq: slow.events.at(-1)?.seq });
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 ** 2);
    const again = await openStream(rig.url, rig.keys.enterprise);
    again.send({ type: "subscribe", session_id, after: told.seq });
    await again.until(({ seq }) => seq === sent + 1);
    expect(again.events[0]?.seq).toBe((told.seq ?? 0) + 1);
    again.close();
    good.close();
  }, 60_000);

  it("miss nothing when the broker is killed and comes back", async () => {
    const { session_id, attempt } = await running("broker");
    const stream = await openStream(rig.url, rig.keys.enterprise);
    stream.send({ type: "subscribe", session_id, after: 0 });
    await attempt.print("before");
    await stream.until(({ seq }) => seq === 4);
    await rig.nats.restart();
    await expect
      .poll(async () => (await fetch(`${rig.url}/readyz`)).status, { timeout: 20_000 })
      .toBe(200);
    const retried = async (send: () => Promise<void>) => {
      await expect
        .poll(
          () =>
            send().then(
              () => true,
              () => false,
            ),
          { timeout: 20_000 },
        )
        .toBe(true);
    };
    await retried(() => attempt.print("after"));
    await stream.until(({ data }) => data["text"] === "after");
    expect(stream.events.map(({ seq }) => seq)).toEqual(upTo(stream.events.length));
    stream.close();
  }, 60_000);
});

describe("keys on a real broker", () => {
  it("act within a second of being made and revoked", async () => {
    const status = async () => (await rig.api("GET", "/v1/me", { key: "new-key" })).status;
    expect(await status()).toBe(401);
    await rig.addKey("new-key", { tenant: "t-pro" });
    await expect.poll(status, { timeout: 1_000 }).toBe(200);
    await rig.addKey("new-key", { tenant: "t-pro", revoked: true });
    await expect.poll(status, { timeout: 1_000 }).toBe(401);
  });

  it("sent twice at once under one idempotency key make one job", async () => {
    const body = { agent: "shell", prompt: "twice" };
    const headers = { "idempotency-key": "twice" };
    const send = () => rig.api("POST", "/v1/jobs", { body, headers });
    const answers = await Promise.all([send(), send(), send(), send()]);
    const accepted = answers.filter(({ status }) => status === 202);
    expect(accepted.length).toBeGreaterThan(0);
    expect(answers.every(({ status }) => status === 202 || status === 409)).toBe(true);
    const ids = await Promise.all(
      accepted.map(async (one) => ((await one.json()) as { id: string }).id),
    );
    expect(new Set(ids).size).toBe(1);
  });
});
