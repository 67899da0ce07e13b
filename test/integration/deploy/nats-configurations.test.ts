/** Every file of `deploy/nats/configurations/`, by the real nats-server and with Berth on it. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Broker } from "../../../deploy/broker.ts";
import { gatewayCredential } from "../../../deploy/nats/auth/gateway-credential.ts";
import { STREAMS } from "../../../protocols/subjects.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { authenticatorOf } from "../../../runtime/nats-auth/credential.ts";
import { certificateFor } from "../../support/certificate.ts";
import { type ConfiguredNats, configuredNats } from "../../support/configured-nats.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { type OperatorRig, operatorRigOn, type RigNats } from "../../support/operator-rig.ts";

const FORMS_WITHIN_MS = 30_000;

/** What a rig works on: it ends with the files' servers. */
function rigNats(nats: ConfiguredNats, url: string): RigNats {
  const { keys } = nats;
  const second = Math.floor(systemClock.now() / 1_000);
  const broker: Broker = {
    ...{ url, workerUrl: url, keys, credential: () => keys.credential("platform") },
    gateway: () => gatewayCredential(keys, "test", second),
  };
  return { url, keys, broker, [Symbol.asyncDispose]: () => nats[Symbol.asyncDispose]() };
}

const asPlatform = (nats: ConfiguredNats, url: string): Promise<NatsConnection> =>
  connect({
    servers: url.split(",").map((one) => new URL(one).host),
    authenticator: authenticatorOf(() => nats.keys.credential("platform")),
    inboxPrefix: "_INBOX_node",
  });

const ports = async (names: readonly string[]) =>
  await Promise.all(names.map((name) => freePort(name)));
const peers = (scheme: string, all: readonly number[]) =>
  JSON.stringify(all.map((port) => `${scheme}://127.0.0.1:${port}`));

/** How many servers the leader of all streams counts, itself included. */
async function metaGroup(monitorUrl: string): Promise<number> {
  const answer = await fetch(`${monitorUrl}/jsz`);
  const { meta_cluster: meta } = (await answer.json()) as {
    readonly meta_cluster?: { readonly leader?: string; readonly cluster_size?: number };
  };
  return meta?.leader ? (meta.cluster_size ?? 0) : 0;
}

describe("every configuration", () => {
  let nats: ConfiguredNats;
  beforeAll(async () => {
    nats = await configuredNats();
  });
  afterAll(() => nats[Symbol.asyncDispose]());

  it.each(["single.conf", "cluster.conf", "super-cluster.conf", "leaf.conf"])(
    "%s is valid with the values of defaults.env",
    async (file) => {
      const { keys } = nats;
      const said = await nats.check(file, {
        NATS_ACCOUNTS: join(nats.folder, "accounts"),
        NATS_PLATFORM_ACCOUNT: keys.get("platform").publicKey,
        NATS_SYSTEM_ACCOUNT: keys.get("system").publicKey,
        NATS_PLATFORM_CREDS: keys.credsPath("platform"),
        NATS_SYSTEM_CREDS: keys.credsPath("system"),
      });
      expect(said).toMatch(/^0: .* is valid/);
    },
  );

  it("has a default for each variable that defaults.env could know", async () => {
    const files = ["common", "jetstream", "routes", "single", "cluster", "super-cluster", "leaf"];
    const texts = await Promise.all(
      files.map((name) => readFile(join(nats.folder, `${name}.conf`), "utf8")),
    );
    const lines = texts
      .join("\n")
      .split("\n")
      .filter((line) => !/^\s*#/.test(line));
    const used = lines.flatMap((line) => line.match(/NATS_[A-Z_]+/g) ?? []);
    const missing = new Set(used.filter((name) => nats.defaults[name] === undefined));
    // Those are what `berth nats access` has made.
    expect([...missing].toSorted()).toEqual([
      "NATS_PLATFORM_ACCOUNT",
      "NATS_PLATFORM_CREDS",
      "NATS_SYSTEM_ACCOUNT",
      "NATS_SYSTEM_CREDS",
    ]);
  });

  it("single.conf lets in who has a credential, and nobody else", async () => {
    const { url, monitorUrl } = await nats.start("single.conf", "alone", {});
    await expect(connect({ servers: new URL(url).host })).rejects.toThrow(/authorization/i);
    const nc = await asPlatform(nats, url);
    const said = await (await fetch(`${monitorUrl}/varz`)).text();
    expect(JSON.parse(said)).toMatchObject({ max_payload: 1_048_576, max_pending: 67_108_864 });
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name: "ANY", subjects: ["any"] });
    await nc.close();
  });
});

describe("cluster.conf", () => {
  let nats: ConfiguredNats;
  afterAll(() => nats?.[Symbol.asyncDispose]());

  it("three of them form one group by TLS, and keep Berth's streams three times", async () => {
    nats = await configuredNats();
    const { cert, key } = await certificateFor("127.0.0.1");
    const [certFile, keyFile] = [join(nats.folder, "cert.pem"), join(nats.folder, "key.pem")];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    const tls = join(nats.folder, "peer-tls.conf");
    await writeFile(tls, uncommented(await readFile(tls, "utf8")));
    const clusterPorts = await ports(["a", "b", "c"]);
    const servers = await Promise.all(
      clusterPorts.map((port, at) =>
        nats.start("cluster.conf", `eu-${at}`, {
          NATS_CLUSTER_PORT: String(port),
          NATS_ROUTES: peers("nats-route", clusterPorts),
          NATS_PEER_CERT: certFile,
          NATS_PEER_KEY: keyFile,
          NATS_PEER_CA: certFile,
        }),
      ),
    );
    await eventually(async () => (await metaGroup(servers[0]?.monitorUrl ?? "")) === 3, {
      name: "three servers are one group",
      within: FORMS_WITHIN_MS,
    });
    const url = servers.map((server) => server.url).join(",");
    const rig = await operatorRigOn(rigNats(nats, url), { replicas: 3 });
    const nc = await asPlatform(nats, url);
    const { config, cluster } = await (await jetstreamManager(nc)).streams.info(STREAMS.mail);
    expect(config.num_replicas).toBe(3);
    expect(cluster?.replicas).toHaveLength(2);
    const routes = (await (await fetch(`${servers[0]?.monitorUrl}/varz`)).json()) as {
      readonly cluster: { readonly tls_required?: boolean };
    };
    expect(routes.cluster.tls_required).toBe(true);
    await nc.close();
    await rig[Symbol.asyncDispose]();
  });
});

/** As whoever wants what stands there as an example does. */
function uncommented(text: string): string {
  const at = text.indexOf("# tls {");
  return text.slice(at).replaceAll(/^# /gm, "");
}

describe("super-cluster.conf and leaf.conf", () => {
  let nats: ConfiguredNats;
  let rig: OperatorRig<RigNats>;
  const urls = { eu: "", us: "", leaf: "" };

  beforeAll(async () => {
    nats = await configuredNats();
    const { keys } = nats;
    const names = ["eu", "us"] as const;
    const [euRoute, usRoute, euGate, usGate, euLeaf, usLeaf] = await ports([
      ...["eu route", "us route", "eu gate", "us gate", "eu leaf", "us leaf"],
    ]);
    const routes = { eu: euRoute, us: usRoute } as const;
    const gates = { eu: euGate, us: usGate } as const;
    const leaves = { eu: euLeaf, us: usLeaf } as const;
    const gateways = names.map(
      (name) => `{name: ${name}, urls: ["nats://127.0.0.1:${gates[name]}"]}`,
    );
    const monitors: string[] = [];
    for (const name of names) {
      const server = await nats.start("super-cluster.conf", `${name}-0`, {
        NATS_CLUSTER: name,
        NATS_TAG: `region:${name}`,
        NATS_CLUSTER_PORT: String(routes[name]),
        NATS_ROUTES: peers("nats-route", [routes[name] ?? 0]),
        NATS_GATEWAY_PORT: String(gates[name]),
        NATS_GATEWAYS: `[${gateways.join(", ")}]`,
        NATS_LEAF_PORT: String(leaves[name]),
      });
      urls[name] = server.url;
      monitors.push(server.monitorUrl);
    }
    await eventually(async () => (await metaGroup(monitors[0] ?? "")) === 2, {
      name: "the regions are one group",
      within: FORMS_WITHIN_MS,
    });
    const leaf = await nats.start("leaf.conf", "leaf-0", {
      NATS_HUBS: peers("nats-leaf", [leaves.eu ?? 0]),
      NATS_PLATFORM_ACCOUNT: keys.get("platform").publicKey,
      NATS_SYSTEM_ACCOUNT: keys.get("system").publicKey,
      NATS_PLATFORM_CREDS: keys.credsPath("platform"),
      NATS_SYSTEM_CREDS: keys.credsPath("system"),
    });
    urls.leaf = leaf.url;
    // Nodes of one region, streams of the other.
    rig = await operatorRigOn(rigNats(nats, urls.eu), { serverTags: ["region:us"] });
  });
  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await nats?.[Symbol.asyncDispose]();
  });

  it("Berth's streams stay in the region that BERTH_STREAM_TAGS names, and the other region works on them", async () => {
    const [eu, us] = [await asPlatform(nats, urls.eu), await asPlatform(nats, urls.us)];
    const [here, there] = [await jetstreamManager(eu), await jetstreamManager(us)];
    const { cluster } = await here.streams.info(STREAMS.mail);
    expect(cluster).toMatchObject({ name: "us", leader: "us-0" });
    for (const jsm of [here, there])
      await jsm.jetstream().publish("berth.mail.acme.user.ann.user", "mail");
    for (const jsm of [here, there])
      expect((await jsm.streams.info(STREAMS.mail)).state.messages).toBe(2);
    await Promise.all([eu.close(), us.close()]);
  });

  it("a stream without a placement lies where its maker is", async () => {
    const eu = await asPlatform(nats, urls.eu);
    const jsm = await jetstreamManager(eu);
    const { cluster } = await jsm.streams.add({ name: "NEAR", subjects: ["near"] });
    expect(cluster).toMatchObject({ name: "eu", leader: "eu-0" });
    await eu.close();
  });

  it("a worker at a leaf is heard by nodes of its region, is told by them, and is cut off there", async () => {
    const { node, keeper, issuer } = rig;
    node.subscribe("berth.hello.*", { callback: (_, message) => void message.respond("welcome") });
    await node.flush();
    const id = "wrk_leaf";
    const account = await keeper.ensure("shared");
    const worker = await eventually(
      () => rig.dial(issuer.issue(id, account), `_INBOX_worker.${id}`, urls.leaf),
      { name: "the leaf knows the workers' account", within: 10_000 },
    );
    const heard = await eventually(
      () => worker.request(`berth.hello.${id}`, "here", { timeout: 500 }),
      {
        name: "a node answers",
        within: 10_000,
      },
    );
    expect(heard.string()).toBe("welcome");
    worker.subscribe(`berth.down.${id}`, {
      callback: (_, message) => void message.respond("done"),
    });
    await worker.flush();
    const told = await eventually(() => node.request(`berth.down.${id}`, "do", { timeout: 500 }), {
      name: "the worker answers",
      within: 10_000,
    });
    expect(told.string()).toBe("done");
    await keeper.revoke("shared", id);
    await worker.closed();
    await expect(
      rig.dial(issuer.issue(id, account), `_INBOX_worker.${id}`, urls.leaf),
    ).rejects.toThrow(/authorization/i);
  });
});
