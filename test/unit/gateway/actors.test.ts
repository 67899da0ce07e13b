/** Actors through the gateway: what operators see of them, and the orders that they give. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pageByName } from "../../../gateway/actors.ts";
import type { ActivationPage, ApiActor } from "../../../protocols/api-operators.ts";
import { type ApiActivation, activationQuerySchema } from "../../../protocols/inspection.ts";
import { eventually } from "../../support/eventually.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";

let rig: GatewayRig;
let job: { id: string; session_id: string };
beforeAll(async () => {
  rig = await startGatewayRig();
  // Over NATS the node's micro service answers this.
  rig.transport.bus.serve("berth.node.rig.actors", undefined, (request) => {
    const text = new TextDecoder().decode(request.data);
    const query = activationQuerySchema.parse(JSON.parse(text));
    request.reply(new TextEncoder().encode(JSON.stringify(rig.node.listActors(query))));
  });
  job = await rig.submit("a secret prompt");
  await (await rig.executor.attempt(job.id)).start();
});
afterAll(() => rig[Symbol.asyncDispose]());

async function read<T>(path: string): Promise<T> {
  const answer = await rig.api("GET", path, { key: rig.keys.operator });
  expect([path, answer.status]).toEqual([path, 200]);
  return (await answer.json()) as T;
}
const names = ({ data }: ActivationPage) =>
  data.map(({ tenant, kind, key }) => `${tenant}/${kind}/${key}`);

describe("the list of actors", () => {
  it("shows what is in memory on every node, in pages by name", async () => {
    const all = await read<ActivationPage>("/v1/actors?limit=100");
    expect(names(all)).toContain(`t-pro/session/${job.session_id}`);
    expect(names(all)).toEqual(names(all).toSorted());
    expect(all).toMatchObject({ next: null, unanswered: [] });
    const paged: string[] = [];
    let after: string | null = "";
    while (after !== null) {
      const from = after === "" ? "" : `&after=${encodeURIComponent(after)}`;
      const page: ActivationPage = await read(`/v1/actors?limit=1${from}`);
      expect(page.data).toHaveLength(1);
      paged.push(...names(page));
      after = page.next;
    }
    expect(paged).toEqual(names(all));
  });

  it("is filtered by kind, tenant, node and state", async () => {
    const session = `t-pro/session/${job.session_id}`;
    expect(names(await read("/v1/actors?kind=session&tenant=t-pro&node=rig"))).toEqual([session]);
    expect(names(await read("/v1/actors?kind=nothing"))).toEqual([]);
    expect(names(await read("/v1/actors?state=loading"))).toEqual([]);
    const gone = await rig.api("GET", "/v1/actors?node=nobody", { key: rig.keys.operator });
    expect(gone.status).toBe(404);
  });

  it("names a node that does not answer instead of failing", async () => {
    const record = {
      id: "mute",
      incarnation: "x",
      version: "0",
      started_at: 1,
      draining: true,
      drivers: [],
      kinds: [],
    };
    const value = new TextEncoder().encode(JSON.stringify(record));
    await rig.transport.buckets.put("nodes", "mute", value);
    const page = await read<ActivationPage>("/v1/actors");
    expect(page.unanswered).toEqual(["mute"]);
    expect(page.data.length).toBeGreaterThan(0);
    await rig.transport.buckets.remove("nodes", "mute");
  });

  it("tells an actor that two nodes name, while it moves, from its later owner", () => {
    const at = (key: string, node: string, epoch: number) =>
      ({ tenant: "t", kind: "k", key, node, epoch }) as ApiActivation;
    const found = [at("b", "n1", 3), at("a", "n1", 1), at("b", "n2", 4)];
    const { data, next } = pageByName(found, 2);
    expect(data.map(({ key, node }) => key + node)).toEqual(["an1", "bn2"]);
    expect(next).toBeNull();
    expect(pageByName(found, 1).next).toBe("t/k/a");
  });
});

describe("one actor", () => {
  const path = () => `/v1/actors/t-pro/session/${job.session_id}`;

  it("is shown as its owner and its record have it, without its state", async () => {
    const actor = await read<ApiActor>(path());
    expect(actor).toMatchObject({
      owner: "rig",
      active: { node: "rig", state: { type: "idle" } },
      record: { journaled: true, epoch: actor.active?.epoch, standing: null },
    });
    expect(actor.record?.revision).toBe(actor.active?.revision);
    expect(actor.record?.last_seq).toBeGreaterThan(0);
    expect(JSON.stringify(actor)).not.toContain("secret prompt");
    expect(actor.record).not.toHaveProperty("state");
  });

  it("shows its state to an operator who asks for it", async () => {
    const { record } = await read<ApiActor>(`${path()}?state=true`);
    expect(JSON.stringify(record?.state)).toContain(job.id);
  });

  it("is found by its record when it is in nobody's memory, and not at all when it has none", async () => {
    const value = new TextEncoder().encode(
      JSON.stringify({
        v: 1,
        epoch: 7,
        writer: "w",
        commit: 1,
        cursor: {},
        state: {},
        nth: 0,
        outbox: [],
        effects: {},
        reminders: {},
      }),
    );
    const ref = { tenant: "t-pro", kind: "user", key: "sleeper" };
    await rig.transport.records.commit(ref, value, {
      expected: 0,
      journaled: false,
      pending: false,
    });
    const actor = await read<ApiActor>("/v1/actors/t-pro/user/sleeper");
    expect(actor).toMatchObject({ active: null, owner: "rig", record: { epoch: 7 } });
    const none = await rig.api("GET", "/v1/actors/t-pro/user/nobody", { key: rig.keys.operator });
    expect(none.status).toBe(404);
  });

  it("is parked and unparked by order, which its callers are told", async () => {
    const order = (what: string, body?: object) =>
      rig.api("POST", `${path()}/${what}`, {
        key: rig.keys.operator,
        ...(body ? { body } : {}),
      });
    const parked = await order("park", { reason: "looking at it", for_ms: 60_000 });
    expect(parked.status).toBe(202);
    expect(await parked.json()).toMatchObject({ ordered: "park", key: job.session_id });
    const standing = async () => (await read<ApiActor>(path())).record?.standing ?? null;
    await eventually(async () => (await standing()) !== null, { name: "it is parked" });
    expect(await standing()).toMatchObject({
      state: "parked",
      code: "operator",
      message: "looking at it",
    });
    expect((await order("unpark")).status).toBe(202);
    await eventually(async () => (await standing()) === null, { name: "it is active" });
    const nobody = await rig.api("POST", "/v1/actors/t-pro/user/nobody/stop", {
      key: rig.keys.operator,
    });
    expect(nobody.status).toBe(404);
  });

  it.each(["GET /v1/actors", "GET :path", "POST :path/restart"])(
    "%s is for operators alone",
    async (route) => {
      const [method = "", to = ""] = route.split(" ");
      for (const key of [rig.keys.pro, rig.keys.admin]) {
        const answer = await rig.api(method, to.replace(":path", path()), { key });
        expect(answer.status).toBe(403);
      }
    },
  );
});
