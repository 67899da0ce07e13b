/** The vault's client and its service, of whose nodes one stands still for a while. */
import { describe, expect, it } from "vitest";
import { startVaultService } from "../../../actors/vault/vault-service.ts";
import { VaultClient } from "../../../gateway/vault.ts";
import { vaultReplySchema } from "../../../protocols/credentials.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { pack, unpack } from "../../../runtime/ask-codec.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import type { Bus } from "../../../runtime/transport.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { KeyFile, keyLine, vaultRig } from "../../support/vault-rig.ts";

const TIMEOUT_MS = 5_000;
const OWNER = { tenant: "acme", user: "ann" };

/** A node that can be stopped: what is sent to it meanwhile waits, and is handled when it wakes. */
class SleepyNode {
  readonly waiting: (() => void)[] = [];
  /** Of these verbs it handles nothing for now. */
  stopped: readonly string[] = [];

  bus(inner: Bus): Bus {
    return {
      request: (...args) => inner.request(...args),
      publish: (...args) => inner.publish(...args),
      serve: (subject, queue, handle) =>
        inner.serve(subject, queue, (request) => {
          const isStopped = this.stopped.some((verb) => subject === subjects.vault(verb));
          if (isStopped) this.waiting.push(() => handle(request));
          else handle(request);
        }),
    };
  }

  wake(): void {
    this.stopped = [];
    for (const handle of this.waiting.splice(0)) handle();
  }
}

/** Nodes take turns, the sleepy one first. */
async function stage(nodes: 1 | 2) {
  const clock = new ManualClock();
  let turn = 0;
  const pick = (count: number) => turn++ % count;
  const { bus, buckets } = connectMemory(new MemoryBroker({ clock, pick }));
  const { vault, open } = await vaultRig(new KeyFile(keyLine("k1")), { buckets, clock });
  const sleepy = new SleepyNode();
  const parts = { vault, clock, log: silentLogger };
  await startVaultService({ ...parts, bus: sleepy.bus(bus) });
  if (nodes === 2) await startVaultService({ ...parts, bus });
  const client = new VaultClient({ bus, clock, timeoutMs: TIMEOUT_MS });
  return { bus, clock, client, open, sleepy };
}

/** Lets the request's time pass while it waits in the stopped node. */
async function timeOut(
  { clock, sleepy }: { readonly clock: ManualClock; readonly sleepy: SleepyNode },
  request: Promise<unknown>,
): Promise<void> {
  const failed = expect(request).rejects.toMatchObject({ code: "vault.unavailable" });
  await eventually(() => sleepy.waiting.length > 0, { within: 5_000, name: "it waits there" });
  await clock.advance(TIMEOUT_MS);
  await failed;
}

describe("a node of the vault that stands still", () => {
  it.each<[string, (client: VaultClient) => Promise<unknown>]>([
    ["list", (client) => client.list(OWNER)],
    ["status", (client) => client.status()],
    ["key", (client) => client.put(OWNER, "openai", "first")],
  ])("costs who asks for `%s` half a second, not the request (G2)", async (verb, ask) => {
    const { clock, client, sleepy } = await stage(2);
    sleepy.stopped = [verb];
    const asked = ask(client);
    await clock.advance(499);
    expect(sleepy.waiting).toHaveLength(1);
    await clock.advance(1);
    await expect(asked).resolves.toBeDefined();
  });

  it.each<[string, (client: VaultClient) => Promise<unknown>]>([
    ["put", (client) => client.put(OWNER, "openai", "first")],
    ["remove", (client) => client.remove(OWNER, "openai")],
  ])("is sent a `%s` once: two might be handled far apart (G3)", async (verb, ask) => {
    const { clock, client, sleepy } = await stage(1);
    sleepy.stopped = [verb];
    await timeOut({ clock, sleepy }, ask(client));
    expect(sleepy.waiting).toHaveLength(1);
  });

  it("puts no old value over the one that was stored after it, when it wakes (G1, S1)", async () => {
    const { clock, client, open, sleepy } = await stage(1);
    sleepy.stopped = ["put"];
    await timeOut({ clock, sleepy }, client.put(OWNER, "openai", "first"));
    sleepy.stopped = [];
    await client.put(OWNER, "openai", "second");
    sleepy.wake();
    await clock.advance(0);
    expect(await open("openai")).toBe("second");
  });

  it("brings back no credential that was removed, when it wakes (G1, S1)", async () => {
    const { clock, client, open, sleepy } = await stage(1);
    await client.put(OWNER, "openai", "first");
    sleepy.stopped = ["put"];
    await timeOut({ clock, sleepy }, client.put(OWNER, "openai", "second"));
    await client.remove(OWNER, "openai");
    sleepy.wake();
    await clock.advance(0);
    expect(await open("openai")).toBeUndefined();
  });

  it("removes no credential that was stored after it, when it wakes (G1, S1)", async () => {
    const { clock, client, open, sleepy } = await stage(1);
    await client.put(OWNER, "openai", "first");
    sleepy.stopped = ["remove"];
    await timeOut({ clock, sleepy }, client.remove(OWNER, "openai"));
    await client.put(OWNER, "openai", "second");
    sleepy.wake();
    await clock.advance(0);
    expect(await open("openai")).toBe("second");
  });

  it("does what waited in it when it wakes in time", async () => {
    const { clock, client, open, sleepy } = await stage(1);
    sleepy.stopped = ["put"];
    const put = client.put(OWNER, "openai", "first");
    await eventually(() => sleepy.waiting.length > 0, { within: 5_000, name: "it waits there" });
    await clock.advance(TIMEOUT_MS - 1);
    sleepy.wake();
    expect(await put).toMatchObject({ is_new: true });
    expect(await open("openai")).toBe("first");
  });
});

describe("a request to the vault", () => {
  it("is handled also when it names no deadline, as those of older gateways", async () => {
    const { bus } = await stage(1);
    const answer = await bus.request(subjects.vault("list"), pack(OWNER), TIMEOUT_MS);
    const reply = vaultReplySchema.parse(unpack(answer));
    expect(reply).toEqual({ ok: true, output: { credentials: [] } });
  });

  it("is not answered when its time is over (S1)", async () => {
    const { bus, clock } = await stage(1);
    const request = pack({ ...OWNER, deadline: clock.now() });
    const asked = bus.request(subjects.vault("list"), request, TIMEOUT_MS);
    const failed = expect(asked).rejects.toMatchObject({ code: "ask.timeout" });
    await clock.advance(TIMEOUT_MS);
    await failed;
  });

  it("is refused when its deadline is no time", async () => {
    const { bus } = await stage(1);
    const request = pack({ ...OWNER, deadline: "soon" });
    const answer = await bus.request(subjects.vault("list"), request, TIMEOUT_MS);
    const reply = vaultReplySchema.parse(unpack(answer));
    expect(reply).toMatchObject({ ok: false, error: { code: "request.malformed" } });
  });
});
