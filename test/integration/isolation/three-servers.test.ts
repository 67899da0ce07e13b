/**
 * Workers' credentials on three nats-servers in operator mode: what is taken from a worker is taken everywhere at once, also
 * on a server that was away when it was.
 */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Broker } from "../../../deploy/broker.ts";
import { gatewayCredential } from "../../../deploy/nats/auth/gateway-credential.ts";
import { rotate } from "../../../deploy/nats/auth/rotation.ts";
import type { BrokerCredential } from "../../../protocols/executor.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { connectNats } from "../../../runtime/nats/transport.ts";
import { readClaims } from "../../../runtime/nats-auth/jwt.ts";
import {
  type ConfiguredNats,
  type ConfiguredServer,
  configuredNats,
} from "../../support/configured-nats.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { type OperatorRig, operatorRigOn, type RigNats } from "../../support/operator-rig.ts";

/** What the isolation promises, from the answer to the revocation on; of several tries the middle one. */
const CUT_MS = 100;
/** No single one takes longer, however busy the machine is. */
const LONGEST_CUT_MS = 2_000;
const TRIES = 3;
const NAMES = ["eu-0", "eu-1", "eu-2"];
const FORMS_WITHIN_MS = 30_000;

let nats: ConfiguredNats;
let servers: ConfiguredServer[];
let rig: OperatorRig<RigNats>;

beforeAll(async () => {
  nats = await configuredNats();
  const ports = await Promise.all(NAMES.map((name) => freePort(name)));
  const routes = JSON.stringify(ports.map((port) => `nats-route://127.0.0.1:${port}`));
  servers = await Promise.all(
    NAMES.map((name, at) =>
      nats.start("cluster.conf", name, {
        NATS_CLUSTER_PORT: String(ports[at]),
        NATS_ROUTES: routes,
      }),
    ),
  );
  await eventually(() => Promise.all(servers.map(isHealthy)), {
    name: "three servers are one group",
    within: FORMS_WITHIN_MS,
  });
  const url = servers.map((server) => server.url).join(",");
  const { keys } = nats;
  const second = Math.floor(systemClock.now() / 1_000);
  const broker: Broker = {
    ...{ url, workerUrl: url, keys, credential: () => keys.credential("platform") },
    gateway: () => gatewayCredential(keys, "test", second),
  };
  const dispose = () => nats[Symbol.asyncDispose]();
  rig = await operatorRigOn({ url, keys, broker, [Symbol.asyncDispose]: dispose }, { replicas: 3 });
});
afterAll(async () => {
  await (rig ?? nats)?.[Symbol.asyncDispose]();
});

async function isHealthy({ monitorUrl }: ConfiguredServer): Promise<true> {
  const health = await fetch(`${monitorUrl}/healthz`);
  const state = (await (await fetch(`${monitorUrl}/jsz`)).json()) as {
    readonly meta_cluster?: { readonly leader?: string; readonly cluster_size?: number };
  };
  const { cluster_size: size, leader } = state.meta_cluster ?? {};
  if (health.ok && leader && size === 3) return true;
  throw new Error(`${health.status}, ${size} servers, led by ${leader}`);
}

/** Two servers, the second of which leads nothing that a revocation waits for. */
async function nearAndAway(): Promise<readonly [ConfiguredServer, ConfiguredServer]> {
  const nc = await rig.dial(nats.keys.credential("platform"), "_INBOX_node", rig.nats.url);
  const { cluster } = await (await jetstreamManager(nc)).streams.info("KV_berth-accounts");
  await nc.close();
  const leader = servers[NAMES.indexOf(cluster?.leader ?? "")];
  const others = servers.filter((server) => server !== leader);
  const [away] = others;
  if (!leader || !away) throw new Error(`${cluster?.leader} leads`);
  return [leader, away];
}

async function credentialOf(worker: string, account = "shared"): Promise<BrokerCredential> {
  return rig.issuer.issue(worker, await rig.keeper.ensure(account));
}
const dial = (credential: BrokerCredential, worker: string, server: ConfiguredServer) =>
  rig.dial(credential, `_INBOX_worker.${worker}`, server.url);

/** Why the server does not let it in; undefined when it does. */
async function refusalAt(
  server: ConfiguredServer,
  worker: string,
  credential: BrokerCredential,
): Promise<string | undefined> {
  try {
    const nc = await dial(credential, worker, server);
    await nc.close();
    return undefined;
  } catch (thrown) {
    return String(thrown);
  }
}

/** Publishes until it is cut off, as fast as the server takes it. */
async function publishOn(nc: NatsConnection, worker: string): Promise<void> {
  const closed = nc.closed();
  while (!nc.isClosed()) {
    nc.publish(`berth.beat.${worker}`, "x");
    await Promise.race([nc.flush(), closed]).catch(() => undefined);
  }
}

/** From the answer to the revocation to the last that anybody heard of the worker; 0 when that was before. */
async function cutAfterMs(server: ConfiguredServer, worker: string): Promise<number> {
  const credential = await credentialOf(worker);
  const nc = await dial(credential, worker, server);
  let [heard, lastAt] = [0, 0];
  const beats = rig.node.subscribe(`berth.beat.${worker}`, {
    callback: () => {
      heard += 1;
      lastAt = systemClock.monotonic();
    },
  });
  await rig.node.flush();
  const publishing = publishOn(nc, worker);
  await eventually(() => heard > 10, { name: "the worker is heard" });
  await rig.keeper.revoke("shared", worker);
  const revokedAt = systemClock.monotonic();
  const refused = Promise.all(
    servers.map((one) =>
      eventually(async () => {
        expect(await refusalAt(one, worker, credential)).toMatch(/authorization/i);
        return true;
      }),
    ),
  );
  await publishing;
  await rig.node.flush();
  beats.unsubscribe();
  await refused;
  return Math.max(0, lastAt - revokedAt);
}

const middle = (all: readonly number[]) => all.toSorted((a, b) => a - b)[all.length >> 1] ?? 0;

describe("on three servers a worker that is put out", () => {
  it("can publish nothing a tenth of a second later, whichever it is connected to, and comes in at none", async () => {
    for (const [at, server] of servers.entries()) {
      const took: number[] = [];
      for (let n = 0; n < TRIES; n += 1) took.push(await cutAfterMs(server, `wrk_${at}_${n}`));
      expect(middle(took)).toBeLessThan(CUT_MS);
      expect(Math.max(...took)).toBeLessThan(LONGEST_CUT_MS);
    }
  });

  it.each([
    ["kept", "within seconds of its return"],
    ["forgotten", "from its first moment on"],
  ] as const)(
    "while one is away is refused by that one, too, its accounts %s: %s",
    async (accounts, _when) => {
      const [near, away] = await nearAndAway();
      const worker = `wrk_${accounts}`;
      const credential = await credentialOf(worker);
      const nc = await dial(credential, worker, near);
      const stays = `wrk_stays_${accounts}`;
      const good = await credentialOf(stays);
      // Both were let in by the one that goes away.
      expect(await refusalAt(away, worker, credential)).toBeUndefined();
      await away.kill();
      await eventually(
        async () => {
          await rig.keeper.revoke("shared", worker);
          return true;
        },
        { name: "it is revoked by the other two", within: 30_000 },
      );
      await nc.closed();
      let letIn = 0;
      const enough = new AbortController();
      const trying = (async () => {
        while (!enough.signal.aborted)
          if ((await refusalAt(away, worker, credential)) === undefined) letIn += 1;
      })();
      await away.again(accounts);
      // It lets in whom it is to let in.
      await eventually(async () => (await refusalAt(away, stays, good)) === undefined, {
        name: "the returned one knows the account",
        within: 20_000,
      });
      await eventually(() => isHealthy(away), { name: "it is back", within: FORMS_WITHIN_MS });
      await eventually(
        async () => /authorization/i.test((await refusalAt(away, worker, credential)) ?? ""),
        {
          name: "the returned one refuses it",
          within: 5_000,
        },
      );
      enough.abort();
      await trying;
      if (accounts === "forgotten") expect(letIn).toBe(0);
    },
  );
});

interface Tenant {
  readonly account: string;
  readonly publicKey: string;
  readonly worker: string;
  readonly credential: BrokerCredential;
}

async function enterpriseTenant(name: string): Promise<Tenant> {
  const [account, worker] = [`tenant.${name}`, `wrk_of_${name}`];
  const credential = await credentialOf(worker, account);
  return { account, worker, credential, publicKey: await rig.keeper.ensure(account) };
}

/** What the three have of an account, when that is the same: then they have no more to learn from each other. */
async function commonToken(publicKey: string): Promise<string> {
  const nc = await rig.dial(nats.keys.credential("system"), "_INBOX_system");
  const subject = `$SYS.REQ.ACCOUNT.${publicKey}.CLAIMS.LOOKUP`;
  const tokens: string[] = [];
  try {
    const limits = { strategy: "count", maxMessages: servers.length, maxWait: 5_000 } as const;
    for await (const answer of await nc.requestMany(subject, "", limits))
      tokens.push(answer.string());
  } finally {
    await nc.close();
  }
  expect(tokens).toHaveLength(servers.length);
  expect(new Set(tokens).size).toBe(1);
  return tokens[0] ?? "";
}

describe("on three servers a node", () => {
  it("tries those that it was told to, and none of the other addresses that they tell of", async () => {
    const transport = await connectNats({
      ...{ url: rig.nats.url, name: "node", topology: "none", logger: silentLogger },
      ...{ credential: () => nats.keys.credential("platform"), clock: systemClock },
    });
    const tried = transport.connection.getServers().map(({ listen }) => listen);
    await transport.close();
    expect(tried.toSorted()).toEqual(servers.map(({ url }) => new URL(url).host).toSorted());
  });
});

describe("on three servers an enterprise tenant", () => {
  it("that is removed, or suspended, while one is away stays out: its account does not come back with that one", async () => {
    const [near, away] = await nearAndAway();
    const removed = await enterpriseTenant("removed");
    const suspended = await enterpriseTenant("suspended");
    const both = [removed, suspended];
    const refusalsAt = (server: ConfiguredServer) =>
      Promise.all(both.map(({ worker, credential }) => refusalAt(server, worker, credential)));
    const left = await Promise.all(
      both.map(({ worker, credential }) => dial(credential, worker, near)),
    );
    expect(await refusalsAt(away)).toEqual([undefined, undefined]);
    await away.kill();
    const end = async () => {
      await rig.keeper.remove(removed.account);
      await rig.keeper.suspend(suspended.account, true);
      // What is written down and could not be told: a pass of the watch does so.
      await rig.keeper.repair();
      return true;
    };
    await eventually(end, { name: "the other two know", within: 30_000 });
    await eventually(() => left.every((nc) => nc.isClosed()), { name: "whoever is in is put out" });
    await away.again("kept");
    await eventually(() => isHealthy(away), { name: "it is back", within: FORMS_WITHIN_MS });
    for (const { publicKey } of both) {
      const token = await eventually(() => commonToken(publicKey), {
        name: "all three have the same",
        within: 5_000,
      });
      expect(readClaims(token).nats).toMatchObject({ limits: { conn: 0 } });
    }
    const refused = [expect.stringMatching(/authorization/i), expect.stringMatching(/maximum/i)];
    for (const server of servers)
      await eventually(async () => expect(await refusalsAt(server)).toEqual(refused) ?? true, {
        name: "it refuses both",
        within: 2_000,
      });

    await rig.keeper.repair();
    expect(await rig.keeper.has(suspended.account)).toBe(true);
    expect(await rig.keeper.has(removed.account)).toBe(false);
    await rig.keeper.suspend(suspended.account, false);
    for (const server of servers)
      await eventually(
        async () => expect(await refusalsAt(server)).toEqual([refused[0], undefined]) ?? true,
        { name: "the suspended one comes in again, and it alone" },
      );
  });
});

describe("on three servers the issuer's key", () => {
  it("is replaced on all: workers of the new one come in everywhere, of the old one nowhere", async () => {
    const before = await credentialOf("wrk_before");
    const left = await dial(before, "wrk_before", servers[1]!);
    await rotate("issuer", {
      ...{ keys: nats.keys, server: rig.server, keeper: rig.keeper },
      ...{ clock: systemClock, waitMs: 300 },
      restart: () => Promise.resolve(),
      say: () => undefined,
    });
    await left.closed();
    const after = await credentialOf("wrk_after");
    for (const server of servers) {
      await eventually(async () =>
        /authorization/i.test((await refusalAt(server, "wrk_before", before)) ?? ""),
      );
      await eventually(async () => (await refusalAt(server, "wrk_after", after)) === undefined);
    }
  });
});
