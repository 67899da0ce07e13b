/** What was taken away stops to work within a second, on each of three gateways over a real broker, open streams too. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../runtime/clock.ts";
import { eventually } from "../support/eventually.ts";
import { type NatsGateways, startNatsGateways } from "../support/nats-gateways.ts";
import { openStream, type StreamClient } from "../support/stream-client.ts";

const WITHIN_MS = 1_000;

let rig: NatsGateways;
beforeAll(async () => {
  rig = await startNatsGateways(3);
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
const statusOf = async (url: string, key: string) => (await fetch(`${url}/v1/me`, as(key))).status;
const operator = (method: string, path: string, body?: object) =>
  rig.api(method, path, { key: rig.keys.operator, body });

interface Open {
  readonly stream: StreamClient;
  /** Resolves with all that the event stream held, once it ended. */
  readonly events: Promise<string>;
}

async function openOn(url: string, key: string, session: string): Promise<Open> {
  const answer = await fetch(`${url}/v1/sessions/${session}/events`, {
    headers: { ...as(key).headers, accept: "text/event-stream" },
  });
  expect(answer.status).toBe(200);
  return { stream: await openStream(url, key), events: answer.text() };
}

/** The longest that anything of the key went on after `takeAway` was answered. */
async function measure(
  key: string,
  code: string,
  status: number,
  takeAway: () => Promise<Response>,
): Promise<number> {
  const { session_id } = await rig.submit("x", key);
  const open = await Promise.all(rig.urls.map((url) => openOn(url, key, session_id)));
  const ended = open.map(async ({ events, stream }) => {
    expect(await stream.closed).toBe(4401);
    expect(stream.frames.find(({ type }) => type === "error")).toMatchObject({ code });
    expect(await events).toContain(`"code":"${code}"`);
  });
  expect((await takeAway()).ok).toBe(true);
  const start = systemClock.monotonic();
  const refused = rig.urls.map((url) =>
    eventually(async () => (await statusOf(url, key)) === status, { within: 10_000 }),
  );
  await Promise.all([...ended, ...refused]);
  return systemClock.monotonic() - start;
}

describe("on three gateways", () => {
  it("a revoked key ends within a second", async () => {
    const made = await operator("POST", "/v1/tenants/t-ent/keys", { name: "k", user: "ann" });
    const { id, key } = (await made.json()) as { id: string; key: string };
    await Promise.all(
      rig.urls.map((url) => eventually(async () => (await statusOf(url, key)) === 200)),
    );
    const took = await measure(key, "auth.invalid", 401, () =>
      operator("DELETE", `/v1/tenants/t-ent/keys/${id}`),
    );
    expect(took).toBeLessThan(WITHIN_MS);
  });

  it("a suspended tenant ends within a second, and is back when it is resumed", async () => {
    const put = (suspended: boolean) =>
      operator("PUT", "/v1/tenants/t-pro", { name: "Pro", tier: "pro", suspended });
    const took = await measure(rig.keys.pro, "tenant.suspended", 423, () => put(true));
    expect(took).toBeLessThan(WITHIN_MS);
    expect((await put(false)).status).toBe(200);
    await Promise.all(
      rig.urls.map((url) => eventually(async () => (await statusOf(url, rig.keys.pro)) === 200)),
    );
  });
});
