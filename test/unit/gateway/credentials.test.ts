import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startVaultService, type VaultService } from "../../../actors/vault/vault-service.ts";
import { BerthClient } from "../../../gateway/client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { KeyFile, keyLine, type VaultRig, vaultRig } from "../../support/vault-rig.ts";

const VALUE = "sk-canary-0123456789abcdef-wxyz";
const file = new KeyFile(keyLine("k1"));
let rig: GatewayRig;
let vault: VaultRig;
let service: VaultService;
const serve = async (log: Logger = silentLogger) =>
  startVaultService({ vault: vault.vault, bus: rig.transport.bus, clock: systemClock, log });

beforeAll(async () => {
  rig = await startGatewayRig();
  vault = await vaultRig(file, { buckets: rig.transport.buckets });
  service = await serve();
});
afterAll(async () => {
  await service.close();
  await rig[Symbol.asyncDispose]();
});

const put = (provider: string, body: unknown, key = rig.keys.pro) =>
  rig.api("PUT", `/v1/credentials/${provider}`, { body, key });

describe("credentials over HTTP", () => {
  it("are stored once as new and then as changed, and are told of without their values", async () => {
    const first = await put("openai", { value: VALUE });
    expect(first.status).toBe(201);
    expect(first.headers.get("cache-control")).toBe("no-store");
    const text = await first.text();
    expect(text).not.toContain(VALUE);
    expect(JSON.parse(text)).toEqual({
      provider: "openai",
      environment: ["OPENAI_API_KEY"],
      hint: "wxyz",
      created_at: expect.any(String),
      updated_at: expect.any(String),
      used_at: null,
    });
    expect((await put("openai", { value: `${VALUE}2` })).status).toBe(200);
    for (const path of ["/v1/credentials", "/v1/credentials/openai"]) {
      const answer = await rig.api("GET", path);
      expect(answer.status).toBe(200);
      expect(await answer.text()).not.toContain(VALUE);
    }
    const place = { tenant: "t-pro", user: "u1", provider: "openai", purpose: "" };
    expect(await vault.vault.open(place)).toBe(`${VALUE}2`);
  });

  it("are each user's own: an admin sees none but its own, an operator has none", async () => {
    await put("openai", { value: VALUE });
    for (const key of [rig.keys.other, rig.keys.admin, rig.keys.free]) {
      const list = await rig.api("GET", "/v1/credentials", { key });
      expect(await list.json()).toEqual({ data: [], next: null });
      for (const method of ["GET", "DELETE"])
        expect((await rig.api(method, "/v1/credentials/openai", { key })).status).toBe(404);
    }
    const { operator } = rig.keys;
    expect((await rig.api("GET", "/v1/credentials", { key: operator })).status).toBe(403);
    expect((await put("openai", { value: VALUE }, operator)).status).toBe(403);
    expect((await rig.api("GET", "/v1/credentials/openai")).status).toBe(200);
  });

  it("are gone when they were removed", async () => {
    await put("gemini", { value: VALUE });
    expect((await rig.api("DELETE", "/v1/credentials/gemini")).status).toBe(204);
    const again = await rig.api("DELETE", "/v1/credentials/gemini");
    expect(again.status).toBe(404);
    expect(await again.json()).toMatchObject({ code: "credential.not_found" });
  });

  it.each<[string, unknown]>([
    ["a value with a line break", { value: `${VALUE}\n${VALUE}` }],
    ["a value that ends with a space", { value: `${VALUE} ` }],
    ["a value that is no text", { value: [VALUE] }],
    ["a field that is not known", { value: "x", [VALUE]: VALUE }],
    ["a bare text", JSON.stringify(VALUE)],
    ["what is no JSON", VALUE],
    ["JSON that breaks off behind the value", `{"value":"${VALUE}"`],
    ["JSON with more behind it", `{"value":"${VALUE}"} ${VALUE}`],
    ["a body that is too large", { value: VALUE.repeat(10_000) }],
  ])("are refused with %s, and the answer says nothing of what was sent", async (_what, body) => {
    const answer = await put("mistral", body);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    const text = await answer.text();
    for (let at = 0; at + 6 <= VALUE.length; at += 1)
      expect(text).not.toContain(VALUE.slice(at, at + 6));
    expect((await rig.api("GET", "/v1/credentials/mistral")).status).toBe(404);
  });

  it("of a provider that could not be a variable's name are refused", async () => {
    for (const provider of ["A", "a.b", "-a", "x".repeat(33), "a%2Eb"])
      expect((await put(provider, { value: VALUE })).status).toBe(422);
  });

  it("leave nothing in the answers that are kept for repetitions", async () => {
    await rig.api("PUT", "/v1/credentials/openai", {
      body: { value: VALUE },
      headers: { "idempotency-key": "k1" },
    });
    const kept = await rig.transport.buckets.list("idempotency", "");
    expect(kept.map(({ value }) => Buffer.from(value ?? []).toString()).join()).not.toContain(
      VALUE,
    );
  });

  it("are stored also when the node that answers knows another current key than the one that is asked", async () => {
    const [old] = file.text.split("\n");
    file.text = `${keyLine("k2")}\n${old}`;
    expect((await put("openai", { value: VALUE })).status).toBe(200);
    const state = await rig.api("GET", "/v1/vault", { key: rig.keys.operator });
    const { keys } = (await state.json()) as { keys: { id: string; credentials: number }[] };
    expect(keys[0]).toMatchObject({ id: "k2" });
    expect(keys[0]?.credentials).toBeGreaterThan(0);
  });

  it("are wrapped anew for operators alone, who see how far that is", async () => {
    await put("openai", { value: VALUE });
    file.text = `${keyLine("k3")}\n${file.text}`;
    for (const key of [rig.keys.pro, rig.keys.admin]) {
      expect((await rig.api("GET", "/v1/vault", { key })).status).toBe(403);
      expect((await rig.api("POST", "/v1/vault/rotate", { key, body: {} })).status).toBe(403);
    }
    const answer = await rig.api("POST", "/v1/vault/rotate", { key: rig.keys.operator, body: {} });
    expect(await answer.json()).toMatchObject({ kek: "k3", unreadable: 0, next: null });
    const state = await rig.api("GET", "/v1/vault", { key: rig.keys.operator });
    const { keys } = (await state.json()) as { keys: { credentials: number }[] };
    expect(keys.slice(1).every(({ credentials }) => credentials === 0)).toBe(true);
  });

  it("are set, listed and removed by the client library", async () => {
    const client = new BerthClient({ url: rig.url, key: rig.keys.free });
    expect(await client.setCredential("claude_api", VALUE)).toMatchObject({ hint: "wxyz" });
    expect((await client.credentials()).map(({ provider }) => provider)).toEqual(["claude_api"]);
    await client.removeCredential("claude_api");
    expect(await client.credentials()).toEqual([]);
  });

  it("cannot be had while no node holds the vault's keys, and the caller may try again", async () => {
    await service.close();
    const answer = await put("openai", { value: VALUE });
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).not.toBeNull();
    expect(await answer.json()).toMatchObject({ code: "vault.unavailable", retryable: true });
    service = await serve();
    expect((await put("openai", { value: VALUE })).status).toBe(200);
  });
});
