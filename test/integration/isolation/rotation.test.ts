/** Keys replaced on a running nats-server: who may be connected stays, and nothing of the old key counts afterwards. */
import { cp, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { gatewayCredential, gatewayInbox } from "../../../deploy/nats/auth/gateway-credential.ts";
import { makeUser, OperatorKeys } from "../../../deploy/nats/auth/operator-keys.ts";
import { ROTATIONS, type Rotation, rotate } from "../../../deploy/nats/auth/rotation.ts";
import type { BrokerCredential } from "../../../protocols/executor.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { accountClaims, userClaims } from "../../../runtime/nats-auth/claims.ts";
import { CredentialIssuer } from "../../../runtime/nats-auth/credential-issuer.ts";
import { signClaims } from "../../../runtime/nats-auth/jwt.ts";
import { Nkey } from "../../../runtime/nats-auth/nkey.ts";
import { eventually } from "../../support/eventually.ts";
import { type OperatorRig, operatorRig, type RigWorker } from "../../support/operator-rig.ts";

let rig: OperatorRig;
beforeEach(async () => {
  rig = await operatorRig();
});
afterEach(async () => {
  await rig?.[Symbol.asyncDispose]();
});

const now = () => Math.floor(systemClock.now() / 1_000);

async function turn(which: Rotation, meanwhile: () => Promise<void> = async () => {}) {
  const { nats, server, keeper } = rig;
  const acts: Promise<void>[] = [];
  await rotate(which, {
    ...{ keys: nats.keys, server, keeper, clock: systemClock, waitMs: 300 },
    restart: () => nats.restart(),
    say: (line) => {
      if (line.startsWith("everything")) acts.push(meanwhile());
    },
  });
  await Promise.all(acts);
}

const isRefused = async (credential: BrokerCredential) =>
  await rig.dial(credential, "_INBOX").then(
    () => false,
    () => true,
  );

/** An account and a user of it, made by whoever has that key of the operator's and a connection to say so. */
async function intruder(signer: Nkey): Promise<BrokerCredential> {
  const [own, user] = [Nkey.make("account"), Nkey.make("user")];
  const claims = accountClaims({
    ...{ publicKey: own.publicKey, name: "intruder", limits: { jetstream: true } },
    signingKeys: [],
  });
  await rig.server.push(signClaims(claims, signer, now()));
  const rights = userClaims({
    ...{ publicKey: user.publicKey, name: "intruder", account: own.publicKey, rights: {} },
  });
  return { jwt: signClaims(rights, own, now()), seed: user.seed };
}

describe("rotation", () => {
  it.each(Object.keys(ROTATIONS) as Rotation[])(
    "of the %s key leaves one key, another one, and workers and nodes at work",
    async (which) => {
      const { keys } = rig.nats;
      const before = keys.get(ROTATIONS[which]).publicKey;
      const worker = await rig.worker("wrk_stays");
      const fresh = async () => {
        // What its node does at the next beat.
        if (which === "issuer") await rig.worker("wrk_moved");
      };
      await turn(which, fresh);
      expect(keys.all(ROTATIONS[which]).map(({ publicKey }) => publicKey)).not.toContain(before);
      expect(keys.all(ROTATIONS[which])).toHaveLength(1);
      // The operator's key takes restarts, over which this one does not come back by itself.
      if (which !== "issuer" && which !== "operator") {
        await worker.nc.flush();
        expect(worker.nc.isClosed()).toBe(false);
      }
      // Our own connections read their files again.
      await eventually(() => rig.transport.buckets.get("accounts", "shared"), {
        within: 30_000,
        name: "the node",
      });
      await eventually(() => rig.server.lookup(rig.nats.keys.get("system").publicKey), {
        name: "SYS",
      });
      const next = await rig.worker("wrk_next");
      expect(await next.nc.flush().then(() => next.nc.isClosed())).toBe(false);
      if (which !== "platform") return;
      // All the same after a restart, whose configuration is made from the files.
      await rig.nats.restart();
      const shared = await eventually(() => rig.keeper.ensure("shared"), {
        within: 30_000,
        name: "the node is back",
      });
      expect(await isRefused(rig.issuer.issue("wrk_again", shared))).toBe(false);
    },
  );

  it("of the operator's key: an account that the old one signs lets nobody in", async () => {
    const old = rig.nats.keys.get("operator-signing");
    expect(await isRefused(await intruder(old))).toBe(false);
    await turn("operator");
    await eventually(() => rig.server.lookup(rig.nats.keys.get("platform").publicKey), {
      name: "SYS is back",
    });
    expect(await isRefused(await intruder(old))).toBe(true);
    expect(await isRefused(await intruder(rig.nats.keys.get("operator-signing")))).toBe(false);
  });

  it("of the issuer's key: workers that moved stay, one that did not is closed", async () => {
    const { keeper, nats } = rig;
    const shared = await keeper.ensure("shared");
    const left = await rig.worker("wrk_left");
    const copy = new OperatorKeys(nats.keys.folder);
    let moved: BrokerCredential | undefined;
    await turn("issuer", async () => {
      expect(copy.all("issuer")).toHaveLength(2);
      moved = rig.issuer.issue("wrk_moved", shared);
      await rig.dial(moved, "_INBOX_worker.wrk_moved");
      expect(left.nc.isClosed()).toBe(false);
    });
    await left.nc.closed();
    expect(await isRefused(left.credential)).toBe(true);
    expect(moved && (await isRefused(moved))).toBe(false);
  });

  it("of the platform's key: the old file lets nobody in", async () => {
    const { keys } = rig.nats;
    const old = keys.credential("platform");
    const stolen = makeUser(keys, "platform", { name: "spare", rights: {}, iat: now() });
    const live = await rig.dial(stolen, "_INBOX_node");
    await turn("platform");
    await live.closed();
    expect(await isRefused(old)).toBe(true);
    expect(await isRefused(stolen)).toBe(true);
    expect(await isRefused(keys.credential("platform"))).toBe(false);
  });

  it("of the gateways' key: gateways of the old one are out, of the new one in", async () => {
    const { keys } = rig.nats;
    const old = gatewayCredential(keys, "g1", now());
    const live = await rig.dial(old, gatewayInbox(old));
    await turn("gateway");
    await live.closed();
    expect(await isRefused(old)).toBe(true);
    expect(await isRefused(gatewayCredential(keys, "g1", now()))).toBe(false);
  });

  it("that was broken off is ended by the next one", async () => {
    const { keys } = rig.nats;
    const old = keys.get("issuer").publicKey;
    let calls = 0;
    const breaks = {
      accept: (issuers: readonly string[]) => rig.keeper.accept(issuers),
      repair() {
        calls += 1;
        return calls === 2 ? Promise.reject(new Error("broken")) : rig.keeper.repair();
      },
    };
    const parts = {
      ...{ keys, server: rig.server, clock: systemClock, waitMs: 1, say: () => {} },
      restart: () => Promise.resolve(),
    };
    await expect(rotate("issuer", { ...parts, keeper: breaks })).rejects.toThrow("broken");
    expect(keys.all("issuer")).toHaveLength(2);
    const begun = keys.get("issuer").publicKey;
    await rotate("issuer", { ...parts, keeper: rig.keeper });
    expect(keys.all("issuer").map(({ publicKey }) => publicKey)).toEqual([begun]);
    expect(begun).not.toBe(old);
  });

  it("whose last word the server did not take is ended by the next one: the old key goes", async () => {
    const { keys } = rig.nats;
    const left = await rig.worker("wrk_left");
    let calls = 0;
    const breaks = {
      accept: (issuers: readonly string[]) => rig.keeper.accept(issuers),
      repair() {
        calls += 1;
        return calls === 3 ? Promise.reject(new Error("broken")) : rig.keeper.repair();
      },
    };
    const said: string[] = [];
    const parts = {
      ...{ keys, server: rig.server, clock: systemClock, waitMs: 1 },
      restart: () => Promise.resolve(),
      say: (line: string) => void said.push(line),
    };
    await expect(rotate("issuer", { ...parts, keeper: breaks })).rejects.toThrow("broken");
    const begun = keys.get("issuer").publicKey;
    expect(await isRefused(left.credential)).toBe(false);
    said.length = 0;
    await rotate("issuer", { ...parts, keeper: rig.keeper });
    expect(said).toEqual(["the old issuer key counts no more"]);
    expect(await isRefused(left.credential)).toBe(true);
    expect(keys.get("issuer").publicKey).toBe(begun);
    expect((await readdir(keys.folder)).filter((file) => file.startsWith("issuer"))).toEqual([
      "issuer.nk",
    ]);
  });

  it("of the issuer's key is undone by no keeper whose folder has not been copied yet, nor later", async () => {
    const { keeper, nats } = rig;
    const shared = await keeper.ensure("shared");
    const folder = join(nats.dataDir, "another-node");
    await cp(nats.keys.folder, folder, { recursive: true });
    const behind = rig.anotherKeeper({ keys: new OperatorKeys(folder) });
    let moved: RigWorker | undefined;
    let made = "";
    await turn("issuer", async () => {
      moved = await rig.worker("wrk_moved");
      await behind.repair();
      // Also in an account that it makes itself, workers of the new key are let in.
      made = await behind.ensure("tenant.made");
      await rig.dial(rig.issuer.issue("wrk_made", made), "_INBOX_worker.wrk_made");
      expect(await isRefused(rig.issuer.issue("wrk_next", shared))).toBe(false);
    });
    const old = new CredentialIssuer({
      ...{ keys: () => [new OperatorKeys(folder).get("issuer")] as const },
      ...{ ttlMs: 60_000, clock: systemClock },
    });
    await behind.repair();
    for (const account of [shared, made]) {
      expect(await isRefused(old.issue("wrk_old", account))).toBe(true);
      expect(await isRefused(rig.issuer.issue("wrk_new", account))).toBe(false);
    }
    await moved?.nc.flush();
    expect(moved?.nc.isClosed()).toBe(false);
  });
});
