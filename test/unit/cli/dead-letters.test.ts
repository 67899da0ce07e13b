/** `berth dead-letters` against a gateway: filters, and replays of many. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../../../deploy/cli/exit-codes.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { runBerth } from "./cli-run.ts";

let rig: GatewayRig;
beforeAll(async () => {
  rig = await startGatewayRig();
});
afterAll(() => rig[Symbol.asyncDispose]());

const berth = (...args: string[]) =>
  runBerth(["dead-letters", ...args], { key: rig.keys.operator, url: rig.url });

async function store(kind: string, id: string, code = "actor.failed"): Promise<void> {
  await rig.transport.mailboxes.deadLetter({
    id,
    actor: { kind, tenant: "t-free", key: "u1" },
    lane: "user",
    envelope: { id, type: "nothing", payload: {}, sentAt: 1 },
    reason: { code, message: "why" },
    epoch: 1,
    attempts: 1,
    at: 5,
  });
}

describe("berth dead-letters", () => {
  test("lists, replays and purges by what letters have in common", async () => {
    await store("user", "l1");
    await store("session", "l2");
    await store("session", "l3", "request.invalid");
    const count = async (...filter: string[]) =>
      (JSON.parse((await berth("list", "--json", ...filter)).out) as unknown[]).length;
    expect(await count("--tenant", "t-free")).toBe(3);
    expect(await count("--kind", "session")).toBe(2);
    expect(await count("--actor", "t-free/session/u1", "--code", "request.invalid")).toBe(1);
    const purged = await berth("purge", "--all", "--code", "request.invalid");
    expect(purged).toMatchObject({ code: EXIT.ok, out: "purged 1\n" });
    const replayed = await berth("replay", "--all", "--kind", "session");
    expect(replayed).toMatchObject({ code: EXIT.ok, out: "replayed 1\n", err: "" });
    expect(await count("--kind", "user")).toBe(1);
  });

  test.each([
    [["replay", "--kind", "user"]],
    [["replay", "dl-1", "--kind", "user"]],
    [["purge", "dl-1", "--all"]],
  ])("%j is wrong usage: nothing is guessed", async (args) => {
    expect(await berth(...args)).toMatchObject({ code: EXIT.usage, out: "" });
  });
});
