import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { AuditEntry } from "../../../protocols/audit.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { PLATFORM_TENANT } from "../../../protocols/ids.ts";
import { verifyChain } from "../../../runtime/audit-chain.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { type ApiOptions, type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { readSources } from "../../support/source.ts";
import { openStream } from "../../support/stream-client.ts";

let rig: GatewayRig;
beforeEach(async () => {
  rig = await startGatewayRig();
});
afterEach(() => rig[Symbol.asyncDispose]());

const operator = (method: string, path: string, options: ApiOptions = {}) =>
  rig.api(method, path, { key: rig.keys.operator, ...options });
const chain = async (tenant: string) =>
  (await rig.transport.audit.read(tenant, 1, 1_000)).map(({ entry }) => entry);
const acts = (entries: readonly AuditEntry[]) => entries.map(({ act }) => act);
const page = async (query = "", key = rig.keys.operator) =>
  (await (await rig.api("GET", `/v1/audit${query}`, { key })).json()) as {
    data: AuditEntry[];
    next: string | null;
  };

describe("a privileged act", () => {
  it("is in its tenant's chain with who, what, where and by which key, and no secret", async () => {
    const put = (suspended: boolean) =>
      operator("PUT", "/v1/tenants/acme", { body: { name: "A", tier: "pro", suspended } });
    const answer = await put(false);
    await expect.poll(async () => (await operator("GET", "/v1/tenants/acme")).status).toBe(200);
    const made = await operator("POST", "/v1/tenants/acme/keys", {
      body: { name: "k", user: "u" },
    });
    const created = (await made.json()) as { id: string; key: string };
    await operator("DELETE", `/v1/tenants/acme/keys/${created.id}`);
    await put(true);
    const entries = await chain("acme");
    expect(acts(entries)).toEqual(["tenant.put", "key.create", "key.revoke", "tenant.suspend"]);
    expect(entries[0]).toMatchObject({
      tenant: "acme",
      actor: { tenant: null, user: "op", scope: "operator", key: "key_key-operator" },
      target: "PUT /v1/tenants/acme",
      outcome: "allowed",
      code: null,
      request: answer.headers.get("x-request-id"),
      source: "127.0.0.1",
      detail: { tier: "pro" },
    });
    expect(entries[1]!.detail).toEqual({ key: created.id, scope: "user", user: "u" });
    expect(JSON.stringify(entries)).not.toContain(created.key);
    expect(verifyChain(entries, { now: systemClock.now() }).fault).toBeUndefined();
  });

  it("that fails afterwards is told with its code", async () => {
    expect((await operator("DELETE", "/v1/tenants/t-pro/keys/nothing")).status).toBe(404);
    expect(await chain("t-pro")).toMatchObject([
      { act: "key.revoke", outcome: "allowed", code: null },
      { act: "key.revoke", outcome: "allowed", code: "request.not_found" },
    ]);
  });

  it("is not done when it cannot be recorded, and says so", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 4 });
    let isAway = true;
    await using cut = await startGatewayRig({
      transport: async () => {
        const transport = connectMemory(broker);
        const append: typeof transport.audit.append = (...call) =>
          isAway
            ? Promise.reject(new BerthError("broker.unavailable"))
            : transport.audit.append(...call);
        return { ...transport, audit: { ...transport.audit, append } };
      },
    });
    const call = (method: string, body?: object) =>
      cut.api(method, "/v1/tenants/acme", { key: cut.keys.operator, body });
    const body = { name: "A", tier: "free" };
    const refused = await call("PUT", body);
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ code: "audit.unavailable", retryable: true });
    expect((await call("GET")).status).toBe(404);
    isAway = false;
    expect((await call("PUT", body)).status).toBe(200);
  });

  it("of an admin on another's job is recorded, a user's on its own is not", async () => {
    const mine = await rig.submit("x");
    await rig.executor.attempt(mine.id);
    expect((await rig.api("POST", `/v1/jobs/${mine.id}/cancel`)).status).toBe(202);
    expect(await chain("t-pro")).toEqual([]);
    const next = await rig.submit("y");
    const cancel = `/v1/jobs/${next.id}/cancel`;
    expect((await rig.api("POST", cancel, { key: rig.keys.admin })).status).toBe(202);
    expect(await chain("t-pro")).toMatchObject([
      { act: "job.cancel", actor: { user: "boss", scope: "tenant_admin" } },
    ]);
  });

  it("of an operator is in the chain of whose it is, named or not, by request and by frame", async () => {
    const [one, two] = [await rig.submit("x"), await rig.submit("y")];
    await rig.executor.attempt(one.id);
    expect((await operator("POST", `/v1/jobs/${one.id}/cancel`)).status).toBe(202);
    const stream = await openStream(rig.url, rig.keys.operator);
    stream.send({ type: "cancel", job_id: two.id, ref: "c" });
    await stream.frame("done");
    stream.close();
    const { session_id } = await rig.submit("z");
    expect((await operator("DELETE", `/v1/sessions/${session_id}`)).status).toBe(204);
    expect(acts(await chain("t-pro"))).toEqual(["job.cancel", "job.cancel", "session.delete"]);
    const none = "job_01J00000000000000000000000";
    expect((await operator("POST", `/v1/jobs/${none}/cancel`)).status).toBe(404);
    expect(await chain(PLATFORM_TENANT)).toEqual([]);
  });

  it("by a frame of a stream is recorded as one over HTTP is", async () => {
    const { id } = await rig.submit("x");
    await rig.executor.attempt(id);
    const stream = await openStream(rig.url, rig.keys.admin);
    stream.send({ type: "cancel", job_id: id, ref: "c" });
    await stream.frame("done");
    expect(await chain("t-pro")).toMatchObject([{ act: "job.cancel", target: `WS ${id}` }]);
    stream.close();
  });
});

describe("a denial", () => {
  it("is in the chain of whom it concerns, once however often it came", async () => {
    for (let n = 0; n < 20; n += 1) {
      expect((await rig.api("GET", "/v1/nodes")).status).toBe(403);
      expect((await rig.api("GET", "/v1/me", { key: "wrong" })).status).toBe(401);
    }
    await expect(openStream(rig.url, "wrong")).rejects.toThrow(/401/);
    await rig.gateway.close();
    const own = await chain("t-pro");
    expect(own).toMatchObject([
      { act: "api.denied", code: "auth.forbidden", count: 1, actor: { user: "u1" } },
      { act: "api.denied", code: "auth.forbidden", count: 19 },
    ]);
    expect(await chain(PLATFORM_TENANT)).toMatchObject([
      { act: "auth.refused", code: "auth.invalid", count: 1, actor: { scope: "none" } },
      { act: "auth.refused", code: "auth.invalid", count: 20 },
    ]);
  });

  it("of an act without a right to it leaves no entry that allows it", async () => {
    const body = { name: "A", tier: "free" };
    expect((await rig.api("PUT", "/v1/tenants/acme", { body })).status).toBe(403);
    const keys = "/v1/tenants/t-free/keys";
    const made = { name: "k", user: "u" };
    const admin = rig.keys.admin;
    expect((await rig.api("POST", keys, { key: admin, body: made })).status).toBe(404);
    const none = "/v1/tenants/no-such/keys";
    expect((await rig.api("POST", none, { key: admin, body: made })).status).toBe(404);
    await rig.gateway.close();
    for (const tenant of ["acme", "t-free", "no-such"]) expect(await chain(tenant)).toEqual([]);
    for (const { outcome } of await chain("t-pro")) expect(outcome).toBe("denied");
  });

  it("in a first frame of a stream is recorded, too", async () => {
    const socket = new WebSocket(`${rig.url.replace("http", "ws")}/v1/stream`);
    await once(socket, "open");
    socket.send(JSON.stringify({ type: "auth", token: "wrong" }));
    expect(await once(socket, "close")).toMatchObject([4401, expect.anything()]);
    await rig.gateway.close();
    expect(await chain(PLATFORM_TENANT)).toMatchObject([
      { act: "auth.refused", code: "auth.invalid", target: "WS auth" },
    ]);
  });
});

describe("the trail", () => {
  it("is read by operators as a whole, by an admin for its own tenant, by users not at all", async () => {
    await operator("DELETE", "/v1/tenants/t-pro/keys/a");
    await operator("DELETE", "/v1/tenants/t-free/keys/b");
    expect((await page()).data.map(({ tenant }) => tenant)).toEqual([
      "t-free",
      "t-free",
      "t-pro",
      "t-pro",
    ]);
    expect((await page("?tenant=t-free")).data.length).toBe(2);
    const own = await page("", rig.keys.admin);
    expect(own.data.map(({ tenant }) => tenant)).toEqual(["t-pro", "t-pro"]);
    for (const path of ["/v1/audit", "/v1/audit/export"]) {
      expect((await rig.api("GET", path)).status).toBe(403);
      const other = await rig.api("GET", `${path}?tenant=t-free`, { key: rig.keys.admin });
      expect(other.status).toBe(403);
    }
  });

  it("is paged by a chain's own numbers and filtered by act, outcome and time", async () => {
    for (let n = 0; n < 3; n += 1) {
      await operator("DELETE", "/v1/tenants/t-free/keys/b");
      await operator("DELETE", "/v1/tenants/t-pro/keys/a");
    }
    const seen: number[] = [];
    let after = "";
    for (;;) {
      const { data, next } = await page(`?limit=2${after}`, rig.keys.admin);
      seen.push(...data.map(({ seq }) => seq));
      if (next === null) break;
      expect(Number(next)).toBeLessThanOrEqual(6);
      after = `&after=${next}`;
    }
    expect(seen).toEqual([6, 5, 4, 3, 2, 1]);
    expect((await page("?act=key.revoke&outcome=denied")).data).toEqual([]);
    expect((await page("?act=key.revoke&limit=200")).data.length).toBe(12);
    const later = new Date(systemClock.now() + 3_600_000).toISOString();
    expect((await page(`?since=${later}`)).data).toEqual([]);
    const earlier = new Date(systemClock.now() - 3_600_000).toISOString();
    expect((await page(`?since=${earlier}`)).data.length).toBe(12);
    expect((await operator("GET", "/v1/audit?after=x")).status).toBe(422);
    expect((await operator("GET", "/v1/audit?act=nothing")).status).toBe(422);
  });

  it("tells that it was exported", async () => {
    await operator("DELETE", "/v1/tenants/t-pro/keys/a");
    const answer = await rig.api("GET", "/v1/audit/export", { key: rig.keys.admin });
    const body = (await answer.json()) as { data: AuditEntry[]; retention_ms: number | null };
    expect(acts(body.data)).toEqual(["key.revoke", "key.revoke", "audit.export"]);
    expect(body.retention_ms).toBeNull();
  });
});

describe("every route that changes something", () => {
  /** A caller's own sessions and jobs are its own affair. */
  const OWN = ["submitJob", "createSession"];

  it("names its act, so that a new one cannot be forgotten", () => {
    const routes = readSources(["gateway/routes"]).flatMap(({ text }) =>
      [...text.matchAll(/app\.(?:post|put|delete)\(([\s\S]*?)\n {4}(?:async )?\(/g)].map(
        ([, head = ""]) => ({
          id: /tagged\(\s*"\w+",\s*"(\w+)"/.exec(head)?.[1] ?? head.slice(0, 80),
          isAudited: /\baudit: /.test(head),
        }),
      ),
    );
    expect(routes.length).toBeGreaterThan(14);
    const silent = routes.filter(({ isAudited }) => !isAudited).map(({ id }) => id);
    expect(silent.toSorted()).toEqual(OWN.toSorted());
  });
});
