import { describe, expect, it } from "vitest";
import { parseKeys } from "../../../../actors/vault/key-encryption-key.ts";
import { Keyring } from "../../../../actors/vault/keyring.ts";
import { Vault } from "../../../../actors/vault/vault.ts";
import {
  type CredentialRecord,
  credentialRecordSchema,
  MAX_CREDENTIALS,
} from "../../../../protocols/credentials.ts";
import { BerthError } from "../../../../protocols/errors.ts";
import { systemClock } from "../../../../runtime/clock.ts";
import { silentLogger } from "../../../../runtime/logger.ts";
import { MemoryBroker } from "../../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../../runtime/memory/transport.ts";
import { noMetrics } from "../../../../runtime/metrics.ts";
import type { Buckets } from "../../../../runtime/transport.ts";
import { changedBuckets } from "../../../support/changed-buckets.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import {
  KeyFile,
  keyLine,
  sealedPut,
  type VaultRig,
  vaultRig,
} from "../../../support/vault-rig.ts";

const VALUE = "sk-test-0123456789abcdef-wxyz";
const stored = async (buckets: Buckets, key: string): Promise<CredentialRecord> => {
  const entry = await buckets.get("vault", key);
  return credentialRecordSchema.parse(JSON.parse(Buffer.from(entry?.value ?? []).toString()));
};
const store = (buckets: Buckets, key: string, record: CredentialRecord) =>
  buckets.put("vault", key, Buffer.from(JSON.stringify(record)));

describe("the vault", () => {
  it("gives back what was put, to who asks for that tenant, user and provider alone", async () => {
    const { vault, put, open } = await vaultRig(new KeyFile(keyLine("k1")));
    await put("openai", VALUE);
    expect(await open("openai")).toBe(VALUE);
    expect(await open("gemini")).toBeUndefined();
    expect(await open("openai", "bob")).toBeUndefined();
    const elsewhere = { tenant: "other", user: "ann", provider: "openai", purpose: "" };
    expect(await vault.open(elsewhere)).toBeUndefined();
  });

  it("keeps no value in the clear, nor a part of it beyond the hint", async () => {
    const { buckets, put } = await vaultRig(new KeyFile(keyLine("k1")));
    await put("openai", VALUE);
    const entry = await buckets.get("vault", "acme.ann.openai");
    const text = Buffer.from(entry?.value ?? []).toString();
    for (let at = 0; at + 8 <= VALUE.length; at += 1)
      expect(text).not.toContain(VALUE.slice(at, at + 8));
    expect(text).not.toContain(Buffer.from(VALUE).toString("base64").slice(4, 16));
    expect((await stored(buckets, "acme.ann.openai")).hint).toBe("wxyz");
  });

  it("tells the last characters of no value that is short", async () => {
    const { buckets, put } = await vaultRig(new KeyFile(keyLine("k1")));
    await put("openai", "only-19-characters-");
    expect((await stored(buckets, "acme.ann.openai")).hint).toBeNull();
  });

  it("does not open a record that was copied to another tenant, user or provider (E2)", async () => {
    const rig = await vaultRig(new KeyFile(keyLine("k1")));
    await rig.put("openai", VALUE);
    const record = await stored(rig.buckets, "acme.ann.openai");
    for (const place of ["acme.bob.openai", "evil.ann.openai", "acme.ann.gemini"]) {
      await store(rig.buckets, place, record);
      const [tenant = "", user = "", provider = ""] = place.split(".");
      await expect(
        rig.vault.open({ tenant, user, provider, purpose: "" }),
        place,
      ).rejects.toMatchObject({ code: "credential.unreadable" });
    }
  });

  it("does not open a record whose parts were changed, or taken from another version (E2)", async () => {
    const rig = await vaultRig(new KeyFile(keyLine("k1")));
    await rig.put("openai", VALUE);
    const first = await stored(rig.buckets, "acme.ann.openai");
    await rig.put("openai", `${VALUE}2`);
    const second = await stored(rig.buckets, "acme.ann.openai");
    for (const mixed of [
      { ...second, version: 1 },
      { ...second, sealed: first.sealed },
      { ...second, wrapped: first.wrapped },
      { ...first, version: 2 },
      { ...second, sealed: second.sealed.slice(0, -8) },
      { ...second, sealed: "" },
    ]) {
      await store(rig.buckets, "acme.ann.openai", mixed);
      await expect(rig.open("openai")).rejects.toMatchObject({ code: "credential.unreadable" });
    }
  });

  it("takes no letter that was meant for another user, or that was changed", async () => {
    const { vault } = await vaultRig(new KeyFile(keyLine("k1")));
    const put = await sealedPut(vault, { tenant: "acme", user: "ann", provider: "openai" }, VALUE);
    for (const bad of [
      { ...put, user: "bob" },
      { ...put, provider: "gemini" },
      { ...put, tenant: "evil" },
      { ...put, letter: `A${put.letter.slice(1)}` },
      { ...put, kek: "unknown" },
    ])
      await expect(vault.put(bad)).rejects.toMatchObject({ code: "credential.unreadable" });
  });

  it.each([
    ["", "empty"],
    ["a\nb", "a line break"],
    ["a\u0000b", "a NUL"],
    [" a", "a space in front"],
    ["a ", "a space behind"],
    ["x".repeat(16 * 1024 + 1), "too long"],
  ])("refuses the value %j (%s), and says so without it", async (value) => {
    const { vault } = await vaultRig(new KeyFile(keyLine("k1")));
    const put = await sealedPut(vault, { tenant: "acme", user: "ann", provider: "openai" }, value);
    const refusal = await vault.put(put).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(refusal).toMatchObject({ code: "request.invalid", field: "value" });
    if (value.length > 2) expect(refusal?.message).not.toContain(value);
  });

  it("takes as many credentials of one user as are allowed, and a new value for one of them still", async () => {
    const { put } = await vaultRig(new KeyFile(keyLine("k1")));
    for (let n = 0; n < MAX_CREDENTIALS; n += 1) await put(`p${n}`, VALUE);
    await expect(put("more", VALUE)).rejects.toMatchObject({ code: "credential.too_many" });
    await put("p0", `${VALUE}2`);
    await put("p0", VALUE, "bob");
  });

  it("lists what a user has, without values, and when each was used", async () => {
    const { vault, put, open } = await vaultRig(new KeyFile(keyLine("k1")));
    await put("openai", VALUE);
    await put("gemini", VALUE);
    await put("openai", VALUE, "ann2");
    await open("gemini");
    const { credentials } = await vault.list({ tenant: "acme", user: "ann" });
    expect(credentials.map(({ provider }) => provider)).toEqual(["gemini", "openai"]);
    expect(credentials[1]).toEqual({
      provider: "openai",
      hint: "wxyz",
      created_at: expect.any(Number),
      updated_at: expect.any(Number),
      used_at: null,
    });
    expect(credentials[0]?.used_at).toEqual(expect.any(Number));
  });

  it("removes a credential, and says when there is none", async () => {
    const { vault, put, open } = await vaultRig(new KeyFile(keyLine("k1")));
    const place = { tenant: "acme", user: "ann", provider: "openai" };
    await put("openai", VALUE);
    await vault.remove(place);
    expect(await open("openai")).toBeUndefined();
    await expect(vault.remove(place)).rejects.toMatchObject({ code: "credential.not_found" });
  });

  it("has each opening recorded, also one that fails, and never with the value (C3)", async () => {
    const { acts, put, open, buckets } = await vaultRig(new KeyFile(keyLine("k1")));
    await put("openai", VALUE);
    await open("openai");
    const record = await stored(buckets, "acme.ann.openai");
    await store(buckets, "acme.ann.openai", { ...record, sealed: "" });
    await expect(open("openai")).rejects.toThrow();
    const act = { tenant: "acme", act: "credential.deliver", target: "job_1" };
    const detail = { user: "ann", provider: "openai" };
    expect(acts).toMatchObject([
      { ...act, detail, code: undefined },
      { ...act, detail, code: "credential.unreadable" },
    ]);
    expect(JSON.stringify(acts)).not.toContain(VALUE);
  });

  it("gives nothing out that cannot be recorded (C3)", async () => {
    const audit = { record: () => Promise.reject(new BerthError("audit.unavailable")) };
    const { put, open } = await vaultRig(new KeyFile(keyLine("k1")), { audit });
    await put("openai", VALUE);
    await expect(open("openai")).rejects.toMatchObject({ code: "audit.unavailable" });
  });
});

describe("a node that stands still in the middle of a user's request", () => {
  /** Between the read of a credential and its write, `meanwhile` happens. */
  async function stopped(meanwhile: (rig: VaultRig, clock: ManualClock) => Promise<unknown>) {
    const clock = new ManualClock();
    const { buckets } = connectMemory(new MemoryBroker({ clock }));
    const keys = new KeyFile(keyLine("k1"));
    const others = await vaultRig(keys, { buckets, clock });
    let isFirst = true;
    const sleepy = changedBuckets(buckets, {
      get: async (...args) => {
        const read = await buckets.get(...args);
        if (isFirst) {
          isFirst = false;
          await meanwhile(others, clock);
        }
        return read;
      },
    });
    const { vault } = await vaultRig(keys, { buckets: sleepy, clock });
    return { vault, others, deadline: clock.now() + 5_000 };
  }
  const place = { tenant: "acme", user: "ann", provider: "openai" };

  it("writes no value after its deadline over the one that was stored meanwhile (C4)", async () => {
    const { vault, others, deadline } = await stopped(async ({ put }, clock) => {
      await clock.advance(5_000);
      await put("openai", `${VALUE}2`);
    });
    const put = vault.put(await sealedPut(vault, place, VALUE), deadline);
    await expect(put).rejects.toMatchObject({ code: "vault.unavailable" });
    expect(await others.open("openai")).toBe(`${VALUE}2`);
  });

  it("removes no credential after its deadline (C4)", async () => {
    const { vault, others, deadline } = await stopped(async ({ put }, clock) => {
      await clock.advance(5_000);
      await put("openai", `${VALUE}2`);
    });
    await others.put("openai", VALUE);
    const removal = vault.remove(place, deadline);
    await expect(removal).rejects.toMatchObject({ code: "vault.unavailable" });
    expect(await others.open("openai")).toBe(`${VALUE}2`);
  });

  it("removes in its time also what was written meanwhile, for it reads that first (C2)", async () => {
    const { vault, others, deadline } = await stopped(({ put }) => put("openai", `${VALUE}2`));
    await others.put("openai", VALUE);
    await vault.remove(place, deadline);
    expect(await others.open("openai")).toBeUndefined();
  });
});

describe("a node that holds no keys of the vault", () => {
  it("opens nothing, says so where there is something to open, and still lists and removes", async () => {
    const rig = await vaultRig(new KeyFile(keyLine("k1")));
    await rig.put("openai", VALUE);
    const audit = { record: () => Promise.resolve() };
    const { buckets } = rig;
    const bare = new Vault({
      ...{
        buckets,
        audit,
        keyring: undefined,
        clock: systemClock,
        log: silentLogger,
        metrics: noMetrics,
      },
    });
    const place = { tenant: "acme", user: "ann", provider: "openai" };
    await expect(bare.open({ ...place, purpose: "" })).rejects.toMatchObject({
      code: "vault.unavailable",
    });
    expect(await bare.open({ ...place, provider: "gemini", purpose: "" })).toBeUndefined();
    await expect(bare.key()).rejects.toMatchObject({ code: "vault.unavailable" });
    expect((await bare.list(place)).credentials).toHaveLength(1);
    await bare.remove(place);
    expect(await rig.open("openai")).toBeUndefined();
  });
});

describe("the vault's keys", () => {
  it("are read from lines and lists, the first is current, and comments are none", () => {
    const [a, b, c] = [keyLine("a"), keyLine("b-2"), keyLine("c")];
    const keys = parseKeys(`# made today\n${a}\r\n\n${b}, ${c}\n`, "x");
    expect(keys.map(({ id }) => id)).toEqual(["a", "b-2", "c"]);
  });

  it("that cannot be used are refused by their place, never by what stands there", () => {
    const secret = "c2hvcnQtc2VjcmV0";
    for (const text of [
      "",
      "# nothing",
      `a:${secret}`,
      secret,
      `${keyLine("a")}:x`,
      `a.b:${secret}`,
    ])
      expect(() => parseKeys(text, "BERTH_VAULT_KEY")).toThrow(
        expect.objectContaining({
          code: "config.invalid",
          message: expect.not.stringContaining(secret),
        }),
      );
    expect(() => parseKeys(`${keyLine("a")}\n${keyLine("a")}`, "x")).toThrow(/one id/);
  });

  it("stay as they are when their source fails, and are asked for at most once a second (Y1, Y2)", async () => {
    const clock = new ManualClock();
    const [one, two] = [keyLine("one"), keyLine("two")];
    const file = new KeyFile(one);
    const keyring = await Keyring.open(file, clock, silentLogger);
    file.text = "broken";
    expect((await keyring.current()).id).toBe("one");
    file.text = `${two}\n${one}`;
    file.reads = 0;
    const asked = Promise.all(Array.from({ length: 50 }, () => keyring.find("two")));
    await clock.advance(1_000);
    expect((await asked).map((key) => key?.id)).toEqual(Array(50).fill("two"));
    expect(file.reads).toBe(1);
    expect(keyring.ids()).toEqual(["two", "one"]);
  });
});
