import { createPublicKey } from "node:crypto";
import { type CryptoKey, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jwtVerifier } from "../../../gateway/auth/jwt.ts";
import type { JwtConfig } from "../../../gateway/config.ts";
import { PLATFORM_TENANT } from "../../../protocols/ids.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { openStream } from "../../support/stream-client.ts";
import {
  type Claims,
  forge,
  type KeyServer,
  SECRET,
  sign,
  signSecret,
  startKeyServer,
} from "../../support/tokens.ts";

const clock = new ManualClock();
const now = clock.now() / 1_000;
const exp = now + 60;

const verify = (token: string, config: JwtConfig = { secret: SECRET }) =>
  jwtVerifier(config, clock)(token);
const refused = (code: string) => ({ code });

describe("a token signed with the shared secret", () => {
  it("is whom its claims name, until its expiry and the skew", async () => {
    const token = await signSecret({ exp, scope: "tenant_admin" });
    expect(await verify(token)).toEqual({
      tenant: "t-pro",
      user: "ann",
      scope: "tenant_admin",
      keyHash: undefined,
      expiresAt: (exp + 5) * 1_000,
    });
    expect(await verify(await signSecret({ exp }))).toMatchObject({ scope: "user" });
    const operator = await signSecret({ exp, scope: "operator", tenant: undefined });
    expect(await verify(operator)).toMatchObject({ scope: "operator", tenant: null });
    // Whatever else it says: what it does stands in the chain of whom it is done to.
    const named = await signSecret({ exp, scope: "operator", tenant: "a" });
    expect(await verify(named)).toMatchObject({ scope: "operator", tenant: null });
  });

  it.each<[string, Claims]>([
    ["no expiry", {}],
    ["no subject", { exp, sub: undefined }],
    ["no tenant", { exp, tenant: undefined }],
    ["a tenant that is no identifier", { exp, tenant: "a.b" }],
    ["a tenant that is a wildcard", { exp, tenant: ">" }],
    ["the platform's tenant", { exp, tenant: PLATFORM_TENANT }],
    ["a subject that is no identifier", { exp, sub: "ann smith" }],
    ["a scope that there is not", { exp, scope: "root" }],
    ["a start in the future", { exp, nbf: now + 30 }],
  ])("with %s is refused", async (_name, claims) => {
    await expect(verify(await signSecret(claims))).rejects.toMatchObject(refused("auth.invalid"));
  });

  it.each([
    ["is good within the skew", -3, 5_000, undefined],
    ["has expired beyond the skew", -6, 5_000, "auth.expired"],
    ["has expired at once without a skew", -1, 0, "auth.expired"],
  ])("%s", async (_name, lateS, skewMs, code) => {
    const token = await signSecret({ exp: now + lateS });
    const verified = verify(token, { secret: SECRET, skewMs });
    if (code === undefined) expect(await verified).toMatchObject({ user: "ann" });
    else await expect(verified).rejects.toMatchObject(refused(code));
  });

  it("must be of the issuer and for the audience that are configured", async () => {
    const config = { secret: SECRET, issuer: "https://id.example", audience: "berth" };
    const good = { exp, iss: "https://id.example", aud: ["other", "berth"] };
    expect(await verify(await signSecret(good), config)).toMatchObject({ user: "ann" });
    for (const wrong of [{ iss: "https://evil.example" }, { aud: "other" }, { aud: undefined }]) {
      await expect(verify(await signSecret({ ...good, ...wrong }), config)).rejects.toMatchObject(
        refused("auth.invalid"),
      );
    }
  });

  it("is refused when another secret, no algorithm or a stronger one signed it", async () => {
    const claims = { tenant: "t-pro", sub: "ann", exp };
    const [head = "", body = "", signature = ""] = (await signSecret({ exp })).split(".");
    const other = Buffer.from(JSON.stringify({ ...claims, sub: "bob" })).toString("base64url");
    for (const token of [
      await signSecret({ exp }, "another secret of at least thirty-two characters"),
      forge({ alg: "none" }, claims),
      forge({ alg: "None" }, claims, signature),
      forge({ alg: "HS512" }, claims, signature),
      `${head}.${other}.${signature}`,
      `${head}.${body}.`,
      "a.b.c",
    ]) {
      await expect(verify(token)).rejects.toMatchObject(refused("auth.invalid"));
    }
  });
});

describe("a token signed with a published key", () => {
  let server: KeyServer;
  const keys = new Map<string, CryptoKey>();
  let pem: string;
  beforeAll(async () => {
    server = await startKeyServer();
    for (const alg of ["RS256", "PS256", "ES256", "EdDSA"]) {
      const { key, jwk } = await server.add(`kid-${alg}`, alg);
      keys.set(alg, key);
      if (alg === "RS256") {
        pem = createPublicKey({ key: { ...jwk }, format: "jwk" }).export({
          type: "spki",
          format: "pem",
        }) as string;
      }
    }
  });
  afterAll(() => server[Symbol.asyncDispose]());
  const config = (): JwtConfig => ({ jwksUrl: server.url });
  const keyOf = (alg: string): CryptoKey => keys.get(alg)!;

  it.each(["RS256", "PS256", "ES256", "EdDSA"])("by %s is taken", async (alg) => {
    const token = await sign(keyOf(alg), { alg, kid: `kid-${alg}`, claims: { exp } });
    expect(await verify(token, config())).toMatchObject({ tenant: "t-pro", user: "ann" });
  });

  it("is refused when the public key was used as a shared secret, or nothing signed it", async () => {
    const claims = { tenant: "t-pro", sub: "ann", exp };
    for (const token of [
      await sign(new TextEncoder().encode(pem), { kid: "kid-RS256", claims }),
      forge({ alg: "none", kid: "kid-RS256" }, claims),
      await sign(keyOf("RS256"), { alg: "RS256", kid: "kid-ES256", claims }),
      await sign(keyOf("RS256"), { alg: "RS256", kid: "unknown", claims }),
    ]) {
      await expect(verify(token, config())).rejects.toMatchObject(refused("auth.invalid"));
    }
  });

  it("asks for the keys once, not for each token", async () => {
    const verifier = jwtVerifier(config(), clock);
    const before = server.asked();
    for (let n = 0; n < 5; n += 1) {
      const claims = { exp, sub: `user-${n}` };
      await verifier(await sign(keyOf("EdDSA"), { alg: "EdDSA", kid: "kid-EdDSA", claims }));
    }
    expect(server.asked() - before).toBe(1);
  });

  it("is not called invalid when the keys cannot be fetched", async () => {
    await using broken = await startKeyServer();
    const { key } = await broken.add("kid", "EdDSA");
    const token = await sign(key, { alg: "EdDSA", kid: "kid", claims: { exp } });
    broken.fail();
    const outage = { code: "auth.unavailable", retry: "later" };
    await expect(verify(token, { jwksUrl: broken.url })).rejects.toMatchObject(outage);
    const nobody = { jwksUrl: "http://127.0.0.1:9/jwks.json" };
    await expect(verify(token, nobody)).rejects.toMatchObject(outage);
  });
});

describe("published keys that change", () => {
  const signed = (key: CryptoKey, kid: string, claims: Claims = { exp: now + 86_400 }) =>
    sign(key, { alg: "EdDSA", kid, claims });

  it("are known at the first token of a new one, and refused a minute after one was taken away", async () => {
    await using server = await startKeyServer();
    const time = new ManualClock();
    const verifier = jwtVerifier({ jwksUrl: server.url }, time);
    const old = await server.add("old", "EdDSA");
    const before = await signed(old.key, "old");
    expect(await verifier(before)).toMatchObject({ user: "ann" });
    await time.advance(6_000);
    const next = await server.add("next", "EdDSA");
    expect(await verifier(await signed(next.key, "next"))).toMatchObject({ user: "ann" });
    server.withdraw("old");
    expect(await verifier(before)).toMatchObject({ user: "ann" });
    await time.advance(60_000);
    await expect(verifier(before)).rejects.toMatchObject(refused("auth.invalid"));
    expect(await verifier(await signed(next.key, "next"))).toMatchObject({ user: "ann" });
  });

  it("are not asked for again and again by tokens with invented key ids", async () => {
    await using server = await startKeyServer();
    const time = new ManualClock();
    const verifier = jwtVerifier({ jwksUrl: server.url }, time);
    const { key } = await server.add("kid", "EdDSA");
    const invented = await Promise.all(
      Array.from({ length: 50 }, (_, n) => signed(key, `../../${n}' OR 1=1 --`)),
    );
    for (const token of invented) {
      await expect(verifier(token)).rejects.toMatchObject(refused("auth.invalid"));
    }
    expect(server.asked()).toBe(1);
    await time.advance(5_000);
    for (const token of invented) {
      await expect(verifier(token)).rejects.toMatchObject(refused("auth.invalid"));
    }
    expect(server.asked()).toBe(2);
    expect(await verifier(await signed(key, "kid"))).toMatchObject({ user: "ann" });
  });

  it("hold for an hour while their server does not answer, and are looked for meanwhile", async () => {
    await using server = await startKeyServer();
    const time = new ManualClock();
    const verifier = jwtVerifier({ jwksUrl: server.url }, time);
    const { key } = await server.add("kid", "EdDSA");
    const token = await signed(key, "kid");
    await verifier(token);
    server.fail();
    for (let minutes = 0; minutes < 60; minutes += 10) {
      expect(await verifier(token)).toMatchObject({ user: "ann" });
      await time.advance(600_000);
    }
    await time.advance(120_000);
    await expect
      .poll(() => verifier(token).catch((thrown: unknown) => thrown))
      .toMatchObject(refused("auth.unavailable"));
    server.recover();
    await time.advance(5_000);
    await expect
      .poll(() => verifier(token).catch((thrown: unknown) => thrown))
      .toMatchObject({
        user: "ann",
      });
  });

  it("are those of the configured address alone: a token that brings its own is refused", async () => {
    await using server = await startKeyServer();
    await using evil = await startKeyServer();
    const verifier = jwtVerifier({ jwksUrl: server.url }, clock);
    await server.add("kid", "EdDSA");
    const { jwk, key } = await evil.add("kid", "EdDSA");
    for (const header of [{ jwk }, { jku: evil.url }, { x5u: evil.url }]) {
      const token = await new SignJWT({ tenant: "t-pro", sub: "ann", exp })
        .setProtectedHeader({ alg: "EdDSA", kid: "kid", ...header })
        .sign(key);
      await expect(verifier(token)).rejects.toMatchObject(refused("auth.invalid"));
    }
    expect(evil.asked()).toBe(0);
  });
});

describe("a shared secret that is changed", () => {
  const NEXT = "the next secret of at least thirty-two characters";
  it("holds beside the new one as long as it is configured", async () => {
    const both = { secret: NEXT, previousSecret: SECRET };
    expect(await verify(await signSecret({ exp }), both)).toMatchObject({ user: "ann" });
    expect(await verify(await signSecret({ exp }, NEXT), both)).toMatchObject({ user: "ann" });
    await expect(verify(await signSecret({ exp }), { secret: NEXT })).rejects.toMatchObject(
      refused("auth.invalid"),
    );
    const late = { exp: now - 60 };
    for (const secret of [SECRET, NEXT]) {
      await expect(verify(await signSecret(late, secret), both)).rejects.toMatchObject(
        refused("auth.expired"),
      );
    }
    const third = "a third secret of at least thirty-two characters";
    await expect(verify(await signSecret({ exp }, third), both)).rejects.toMatchObject(
      refused("auth.invalid"),
    );
  });
});

it("a gateway is not told both a secret and published keys", () => {
  const both = { secret: SECRET, jwksUrl: "http://127.0.0.1:9/" };
  expect(() => jwtVerifier(both, clock)).toThrow(/one of/);
});

describe("over HTTP", () => {
  let rig: GatewayRig;
  beforeAll(async () => {
    rig = await startGatewayRig({
      config: { jwt: { secret: SECRET, audience: "berth", skewMs: 0 } },
    });
  });
  afterAll(() => rig[Symbol.asyncDispose]());
  const inSeconds = (s: number) => Math.floor(systemClock.now() / 1_000) + s;
  const token = (claims: Claims = {}) =>
    signSecret({ exp: inSeconds(60), aud: "berth", ...claims });

  it("a token works beside keys, as header and as subprotocol", async () => {
    const key = await token();
    const me = await rig.api("GET", "/v1/me", { key });
    expect(await me.json()).toEqual({ tenant: "t-pro", user: "ann", scope: "user", tier: "pro" });
    expect((await rig.api("GET", "/v1/me")).status).toBe(200);
    const stream = await openStream(rig.url, key);
    expect(stream.welcome).toMatchObject({ user: "ann", tier: "pro" });
    stream.close();
  });

  it("its owner sees what is its own, an operator everything, nobody else anything", async () => {
    const { id } = await rig.submit("mine", await token());
    const read = (key: string, query = "") => rig.api("GET", `/v1/jobs/${id}${query}`, { key });
    expect((await read(await token())).status).toBe(200);
    expect((await read(await token({ sub: "bob" }))).status).toBe(404);
    expect((await read(await token({ tenant: "t-free" }))).status).toBe(404);
    const operator = await token({ scope: "operator", tenant: undefined });
    expect((await read(operator, "?tenant=t-pro")).status).toBe(200);
  });

  it.each<[string, Claims, number, string]>([
    ["for another audience", { aud: "other" }, 401, "auth.invalid"],
    ["that has expired", { exp: 1 }, 401, "auth.expired"],
    ["of a tenant that there is not", { tenant: "nobody" }, 403, "auth.forbidden"],
  ])("one %s is refused", async (_name, claims, status, code) => {
    const answer = await rig.api("GET", "/v1/me", { key: await token(claims) });
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ code, status });
    expect(answer.headers.get("www-authenticate")).toBe(
      status === 401 ? 'Bearer realm="berth"' : null,
    );
  });

  it("one without a signature is refused, also as a subprotocol", async () => {
    const forged = forge(
      { alg: "none" },
      { tenant: "t-pro", sub: "ann", aud: "berth", exp: inSeconds(60) },
      "x",
    );
    expect((await rig.api("GET", "/v1/me", { key: forged })).status).toBe(401);
    await expect(openStream(rig.url, forged)).rejects.toThrow(/401/);
  });

  it("its expiry ends the streams that it opened", async () => {
    const key = await token({ exp: inSeconds(2) });
    const { session_id } = await rig.submit("x", key);
    const stream = await openStream(rig.url, key);
    const events = await rig.api("GET", `/v1/sessions/${session_id}/events`, {
      key,
      headers: { accept: "text/event-stream" },
    });
    expect(await stream.closed).toBe(4401);
    expect(await stream.frame("error")).toMatchObject({ code: "auth.expired" });
    expect(await events.text()).toContain('"code":"auth.expired"');
  });
});
