/** Keys of a tenant in the hands of its admin, and of operators. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ApiKey } from "../../../protocols/api-operators.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";

let rig: GatewayRig;
beforeAll(async () => {
  rig = await startGatewayRig();
});
afterAll(() => rig[Symbol.asyncDispose]());

const call = (key: string, method: string, path: string, body?: object) =>
  rig.api(method, path, { key, body });
const list = async (key: string) =>
  (
    (await (await call(key, "GET", "/v1/tenants/t-pro/keys?limit=200")).json()) as {
      data: ApiKey[];
    }
  ).data;

describe("a tenant's admin", () => {
  it("makes, lists and revokes keys of its own tenant, none above its own scope", async () => {
    const { admin } = rig.keys;
    const keys = "/v1/tenants/t-pro/keys";
    for (const scope of ["user", "tenant_admin"]) {
      const made = await call(admin, "POST", keys, { name: "k", user: "ann", scope });
      expect(made.status).toBe(201);
      const { id, key } = (await made.json()) as ApiKey & { key: string };
      const me = await (await call(key, "GET", "/v1/me")).json();
      expect(me).toEqual({ tenant: "t-pro", user: "ann", scope, tier: "pro" });
      expect((await list(admin)).map((each) => each.id)).toContain(id);
      expect((await call(admin, "DELETE", `${keys}/${id}`)).status).toBe(204);
      await expect.poll(async () => (await call(key, "GET", "/v1/me")).status).toBe(401);
    }
    const above = { name: "k", user: "ann", scope: "operator" };
    expect((await call(admin, "POST", keys, above)).status).toBe(422);
  });

  it("finds no keys of another tenant, whether it exists or not", async () => {
    for (const [method, path, body] of [
      ["GET", "keys", undefined],
      ["POST", "keys", { name: "k", user: "ann" }],
      ["DELETE", "keys/key_key-free", undefined],
      ["DELETE", "keys", undefined],
    ] as const) {
      const answers = await Promise.all(
        ["t-free", "no-such"].map((tenant) =>
          call(rig.keys.admin, method, `/v1/tenants/${tenant}/${path}`, body),
        ),
      );
      const texts = await Promise.all(
        answers.map(async (answer) => ({ ...((await answer.json()) as object), instance: "" })),
      );
      expect(answers.map(({ status }) => status)).toEqual([404, 404]);
      expect(texts[0]).toEqual(texts[1]);
    }
    expect((await call(rig.keys.free, "GET", "/v1/me")).status).toBe(200);
  });

  it("may not do what users may not, either: tenants and users' keys are closed to users", async () => {
    expect((await call(rig.keys.pro, "GET", "/v1/tenants/t-pro/keys")).status).toBe(403);
    expect((await call(rig.keys.admin, "GET", "/v1/tenants")).status).toBe(403);
    const put = { name: "x", tier: "enterprise" };
    expect((await call(rig.keys.admin, "PUT", "/v1/tenants/t-pro", put)).status).toBe(403);
  });
});

describe("keys that are over", () => {
  it("are removed together, and those that hold stay", async () => {
    await rig.addKey("revoked", { tenant: "t-ent", revoked: true });
    await rig.addKey("expired", { tenant: "t-ent", expires_at: 1 });
    await rig.addKey("later", { tenant: "t-ent", expires_at: systemClock.now() + 60_000 });
    const cleaned = await call(rig.keys.operator, "DELETE", "/v1/tenants/t-ent/keys");
    expect(await cleaned.json()).toEqual({ removed: 2 });
    const again = await call(rig.keys.operator, "DELETE", "/v1/tenants/t-ent/keys");
    expect(await again.json()).toEqual({ removed: 0 });
    expect((await call("later", "GET", "/v1/me")).status).toBe(200);
    expect((await call(rig.keys.enterprise, "GET", "/v1/me")).status).toBe(200);
    for (const key of ["revoked", "expired"]) {
      expect((await call(key, "GET", "/v1/me")).status).toBe(401);
    }
  });
});
