/** Dead letters through the gateway: what operators list, replay and purge (R5). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ApiDeadLetter } from "../../../protocols/api-operators.ts";
import { eventually } from "../../support/eventually.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";

let rig: GatewayRig;
beforeAll(async () => {
  rig = await startGatewayRig();
});
afterAll(() => rig[Symbol.asyncDispose]());

let count = 0;
/** A letter of an actor of ours; its message is one that the actor's protocol does not know, so its replay fails again. */
async function store(tenant: string, kind: string, code = "actor.failed"): Promise<void> {
  count += 1;
  await rig.transport.mailboxes.deadLetter({
    id: `test-${count}`,
    actor: { kind, tenant, key: "u1" },
    lane: "user",
    envelope: { id: `m${count}`, type: "nothing", payload: { n: count }, sentAt: 1 },
    reason: { code, message: "why" },
    epoch: 3,
    attempts: 4,
    at: 5,
  });
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const options = { key: rig.keys.operator, ...(body === undefined ? {} : { body }) };
  const answer = await rig.api(method, path, options);
  expect([path, answer.status]).toEqual([path, 200]);
  return (await answer.json()) as T;
}
const list = (query: string) =>
  call<{ data: ApiDeadLetter[]; next: string | null }>("GET", `/v1/dead-letters${query}`);

describe("dead letters", () => {
  it("are listed by tenant, kind, key and reason, in pages", async () => {
    for (const kind of ["user", "user", "session"]) await store("t-list", kind);
    await store("t-list", "user", "request.invalid");
    expect((await list("?tenant=t-list")).data).toHaveLength(4);
    expect((await list("?tenant=t-list&kind=user&key=u1&code=actor.failed")).data).toHaveLength(2);
    expect((await list("?tenant=t-list&key=other")).data).toEqual([]);
    const page = await list("?tenant=t-list&kind=user&limit=2");
    expect(page.data.map(({ reason }) => reason.code)).toEqual(["request.invalid", "actor.failed"]);
    expect((await list(`?tenant=t-list&kind=user&limit=2&after=${page.next}`)).data).toHaveLength(
      1,
    );
  });

  it("are purged by the same filter", async () => {
    for (const kind of ["user", "session"]) await store("t-purge", kind, "request.invalid");
    const purge = (query: string) => call("DELETE", `/v1/dead-letters?tenant=t-purge&${query}`);
    expect(await purge("kind=session&code=actor.failed")).toEqual({ purged: 0 });
    expect(await purge("kind=session&code=request.invalid")).toEqual({ purged: 1 });
    expect((await list("?tenant=t-purge")).data).toHaveLength(1);
  });

  it("are replayed by a filter: their actor gets them, and those that fail again are new letters", async () => {
    for (let n = 0; n < 3; n += 1) await store("t-pro", "user");
    const before = (await list("?tenant=t-pro")).data.map(({ id }) => id);
    const outcome = await call("POST", "/v1/dead-letters/replay", { tenant: "t-pro" });
    expect(outcome).toEqual({ replayed: 3, failed: [] });
    const after = await eventually(
      async () => {
        const { data } = await list("?tenant=t-pro");
        return data.length === 3 && data;
      },
      { name: "three new letters" },
    );
    expect(
      after.every(
        ({ id, reason }) => !before.includes(id) && reason.code === "actor.unknown_message",
      ),
    ).toBe(true);
  });

  it("are for operators, and a filter names only what there is to filter by", async () => {
    const forbidden = await rig.api("POST", "/v1/dead-letters/replay", { body: {} });
    expect(forbidden.status).toBe(403);
    const unknown = await rig.api("POST", "/v1/dead-letters/replay", {
      key: rig.keys.operator,
      body: { knid: "user" },
    });
    expect(unknown.status).toBe(422);
    const unsafe = await rig.api("DELETE", "/v1/dead-letters?kind=*", { key: rig.keys.operator });
    expect(unsafe.status).toBe(422);
  });
});
