import { describe, expect, it } from "vitest";
import type { Vault } from "../../../../actors/vault/vault.ts";
import { MemoryBroker } from "../../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../../runtime/memory/transport.ts";
import type { Buckets } from "../../../../runtime/transport.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { KeyFile, keyLine, vaultRig } from "../../../support/vault-rig.ts";

const VALUE = "sk-test-0123456789abcdef-wxyz";

async function rotateAll(vault: Vault) {
  const sum = { rotated: 0, unchanged: 0, unreadable: 0, steps: 0 };
  for (let after: string | null = null; ; ) {
    const step = await vault.rotate({ after });
    sum.rotated += step.rotated;
    sum.unchanged += step.unchanged;
    sum.unreadable += step.unreadable;
    sum.steps += 1;
    if (step.next === null) return sum;
    after = step.next;
  }
}

describe("a rotation of the vault's keys", () => {
  it("wraps every credential with the current key, in steps, and may be repeated", async () => {
    const [old, next] = [keyLine("old"), keyLine("next")];
    const file = new KeyFile(old);
    const { vault, put, open } = await vaultRig(file);
    for (let user = 0; user < 250; user += 1) await put("openai", `${VALUE}${user}`, `u${user}`);
    file.text = `${next}\n${old}`;
    expect(await vault.status()).toEqual({
      keys: [
        { id: "next", credentials: 0 },
        { id: "old", credentials: 250 },
      ],
      unreadable: 0,
    });
    expect(await rotateAll(vault)).toEqual({ rotated: 250, unchanged: 0, unreadable: 0, steps: 3 });
    expect(await rotateAll(vault)).toEqual({ rotated: 0, unchanged: 250, unreadable: 0, steps: 3 });
    file.text = next;
    expect(await vault.status()).toEqual({
      keys: [{ id: "next", credentials: 250 }],
      unreadable: 0,
    });
    expect(await open("openai", "u137")).toBe(`${VALUE}137`);
  });

  it("leaves what it cannot open where it is, and counts it", async () => {
    const [lost, next] = [keyLine("lost"), keyLine("next")];
    const file = new KeyFile(lost);
    const { vault, put, open } = await vaultRig(file);
    await put("openai", VALUE);
    file.text = next;
    expect(await rotateAll(vault)).toMatchObject({ rotated: 0, unreadable: 1 });
    expect(await vault.status()).toMatchObject({ unreadable: 1 });
    await expect(open("openai")).rejects.toMatchObject({
      code: "credential.unreadable",
      message: expect.stringContaining("lost"),
    });
    file.text = `${next}\n${lost}`;
    expect(await open("openai")).toBe(VALUE);
  });

  it("passes a run of credentials under a key that nobody has, with one look for it in each step", async () => {
    const [lost, next] = [keyLine("lost"), keyLine("next")];
    const file = new KeyFile(lost);
    const clock = new ManualClock();
    const { vault, put } = await vaultRig(file, { clock });
    for (let user = 100; user < 250; user += 1) await put("openai", VALUE, `u${user}`);
    file.text = next;
    const began = clock.monotonic();
    const ends: Awaited<ReturnType<typeof rotateAll>>[] = [];
    void rotateAll(vault).then((sum) => ends.push(sum));
    for (let n = 0; ends.length === 0 && n < 2_000; n += 1) await clock.advance(100);
    expect(ends[0]).toEqual({ rotated: 0, unchanged: 0, unreadable: 150, steps: 2 });
    // A look for an unknown key waits a second.
    expect(clock.monotonic() - began).toBeLessThan(2 * 1_000 + 1_000);
  });

  it("ends a step in time when each credential takes long, and goes on behind it", async () => {
    const [old, next] = [keyLine("old"), keyLine("next")];
    const file = new KeyFile(old);
    const clock = new ManualClock();
    const { buckets } = connectMemory(new MemoryBroker({ clock }));
    const slow: Buckets = {
      ...buckets,
      async get(bucket, key) {
        if (isSlow) await clock.advance(3_000);
        return await buckets.get(bucket, key);
      },
    };
    let isSlow = false;
    const { vault, put, open } = await vaultRig(file, { buckets: slow, clock });
    for (let user = 0; user < 9; user += 1) await put("openai", VALUE, `u${user}`);
    file.text = `${next}\n${old}`;
    isSlow = true;
    const first = await vault.rotate({ after: null });
    expect(first).toMatchObject({ rotated: 4, next: "acme.u3.openai" });
    expect(await vault.rotate({ after: first.next })).toMatchObject({ rotated: 4 });
    expect(await rotateAll(vault)).toMatchObject({ rotated: 1, unchanged: 8, steps: 3 });
    expect(await open("openai", "u8")).toBe(VALUE);
  });

  it("never brings an old value back, however writes and rotations meet (C2)", async () => {
    const [old, next] = [keyLine("old"), keyLine("next")];
    const file = new KeyFile(old);
    const rig = await vaultRig(file);
    const second = await vaultRig(file, { buckets: rig.buckets });
    await rig.put("openai", "value-0");
    for (let round = 1; round <= 40; round += 1) {
      file.text = round % 2 === 0 ? `${old}\n${next}` : `${next}\n${old}`;
      const writes = rig.put("openai", `value-${round}`);
      const reads = Promise.all([rig.open("openai"), second.open("openai")]);
      await Promise.all([writes, rotateAll(second.vault), rotateAll(rig.vault)]);
      for (const value of await reads)
        expect([`value-${round}`, `value-${round - 1}`]).toContain(value);
      expect(await second.open("openai")).toBe(`value-${round}`);
    }
  });

  it("does not bring a credential back that is removed meanwhile", async () => {
    const [old, next] = [keyLine("old"), keyLine("next")];
    const file = new KeyFile(old);
    const { vault, put, open } = await vaultRig(file);
    for (let round = 0; round < 20; round += 1) {
      await put("openai", VALUE);
      file.text = round % 2 === 0 ? `${next}\n${old}` : `${old}\n${next}`;
      const removal = vault.remove({ tenant: "acme", user: "ann", provider: "openai" });
      await Promise.all([removal, rotateAll(vault)]);
      expect(await open("openai")).toBeUndefined();
    }
  });
});
