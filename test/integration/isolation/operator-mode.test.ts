/** A worker's own credential against a real nats-server in operator mode: what it may, and all that it may not. */
import { chmod, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection, PermissionViolationError } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gatewayCredential, gatewayInbox } from "../../../deploy/nats/auth/gateway-credential.ts";
import { ensureOperatorKeys, KEYS, type KeyName } from "../../../deploy/nats/auth/operator-keys.ts";
import { eventually } from "../../support/eventually.ts";
import { type OperatorRig, operatorRig, type RigWorker } from "../../support/operator-rig.ts";

let rig: OperatorRig;
let a: RigWorker;
let b: RigWorker;
let rich: RigWorker;

beforeAll(async () => {
  rig = await operatorRig();
  a = await rig.worker("wrk_A");
  b = await rig.worker("wrk_B");
  rich = await rig.worker("wrk_R", { tenant: "acme", tier: "enterprise" });
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

/** Whether what `from` publishes there reaches a listener of that connection. */
async function reaches(from: NatsConnection, to: NatsConnection, subject: string) {
  let count = 0;
  const heard = to.subscribe(subject, {
    callback: (error) => {
      if (!error) count += 1;
    },
  });
  await to.flush();
  from.publish(subject, "x");
  await from.flush();
  await to.flush();
  heard.unsubscribe();
  return count > 0;
}

/** The refusal of a subscription; undefined when it was taken. */
async function refusal(nc: NatsConnection, subject: string): Promise<unknown> {
  let seen: unknown;
  const heard = nc.subscribe(subject, {
    callback: (error) => {
      if (error) seen = error;
    },
  });
  await nc.flush();
  heard.unsubscribe();
  return seen;
}

describe("the keys of a first start", () => {
  const files = [
    ...Object.keys(KEYS).map((name) => `${name}.nk`),
    "platform.creds",
    "sys.creds",
  ].toSorted();

  it("are files that their owner alone can read, in a folder of the same kind", async () => {
    const { folder } = rig.nats.keys;
    expect((await readdir(folder)).toSorted()).toEqual(files);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    for (const file of files) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
  });

  it("are used again by the next start", async () => {
    const { folder } = rig.nats.keys;
    const again = await ensureOperatorKeys(folder, 1);
    for (const name of Object.keys(KEYS) as KeyName[])
      expect(again.get(name).publicKey).toBe(rig.nats.keys.get(name).publicKey);
  });

  it("are one set when two first starts meet, and nothing is left of the other", async () => {
    const data = await mkdtemp(join(tmpdir(), "berth-keys-"));
    try {
      await chmod(data, 0o700);
      const folder = join(data, "nats-auth");
      const starts = Array.from({ length: 5 }, () => ensureOperatorKeys(folder, 1));
      const roots = (await Promise.all(starts)).map((keys) => keys.get("operator").publicKey);
      expect(new Set(roots).size).toBe(1);
      expect(await readdir(data)).toEqual(["nats-auth"]);
    } finally {
      await rm(data, { recursive: true, force: true });
    }
  });
});

describe("a gateway's own credential", () => {
  const dialGateway = async (id: string) => {
    const credential = gatewayCredential(rig.nats.keys, id, 1);
    return await rig.dial(credential, gatewayInbox(credential));
  };

  it("asks actors and nodes, and hears its own answers", async () => {
    const gateway = await dialGateway("g1");
    const served = rig.node.subscribe("berth.ask.1.acme.user.u", {
      callback: (_, message) => void message.respond("done"),
    });
    await rig.node.flush();
    const answer = await gateway.request("berth.ask.1.acme.user.u", "", { timeout: 2_000 });
    expect(answer.string()).toBe("done");
    served.unsubscribe();
  });

  it.each([
    "berth.up.wrk_A.1.acme.session.s",
    "berth.beat.wrk_A",
    "berth.accounts.revoke",
    "berth.journal.1.acme.session.s",
    "berth.driver.n.start",
    "_INBOX_node.a.b",
    "_INBOX_gateway.g2.x",
  ])("reaches nobody on %s", async (subject) => {
    expect(await reaches(await dialGateway("g1"), rig.node, subject)).toBe(false);
  });

  it.each(["$JS.API.STREAM.DELETE.BERTH_MAIL", "$KV.berth-actors.1.a", "$SYS.REQ.SERVER.PING"])(
    "is refused %s at once",
    async (subject) => {
      const gateway = await dialGateway("g1");
      await expect(gateway.request(subject, "", { timeout: 2_000 })).rejects.toMatchObject({
        cause: expect.any(PermissionViolationError),
      });
    },
  );

  it.each([">", "berth.up.>", "_INBOX_node.>", "_INBOX_gateway.g2.>", "_INBOX_gateway.>"])(
    "may not listen to %s",
    async (subject) => {
      const gateway = await dialGateway("g1");
      expect(await refusal(gateway, subject)).toBeInstanceOf(PermissionViolationError);
    },
  );
});

describe("a worker's own credential", () => {
  it.each(["berth.up.wrk_A.1.acme.session.s", "berth.hello.wrk_A", "berth.beat.wrk_A"])(
    "reaches the nodes on %s, over the border of its account",
    async (subject) => {
      expect(await reaches(a.nc, rig.node, subject)).toBe(true);
    },
  );

  it.each([
    "berth.up.wrk_B.1.acme.session.s",
    "berth.hello.wrk_B",
    "berth.beat.wrk_B",
    "berth.down.wrk_B",
    "berth.down.wrk_A",
    "berth.mail.acme.user.u.user",
    "berth.ask.1.acme.user.u",
    "berth.accounts.ensure",
    "berth.live.acme.session.s",
    "_INBOX.a.b",
    "_INBOX_node.a.b",
    "_INBOX_worker.wrk_B.a",
  ])("reaches nobody on %s", async (subject) => {
    expect(await reaches(a.nc, rig.node, subject)).toBe(false);
    expect(await reaches(a.nc, b.nc, subject)).toBe(false);
  });

  it.each([
    ">",
    "berth.>",
    "*.down.wrk_A",
    "berth.down.*",
    "berth.down.wrk_B",
    "berth.up.>",
    "_INBOX.>",
    "_INBOX_node.>",
    "_INBOX_worker.>",
    "_INBOX_worker.wrk_B.>",
    "$KV.>",
    "$JS.API.>",
    "$SYS.>",
  ])("may not listen to %s", async (subject) => {
    expect(await refusal(a.nc, subject)).toBeInstanceOf(PermissionViolationError);
  });

  it.each([
    "$JS.API.INFO",
    "$JS.API.STREAM.CREATE.X",
    "$JS.API.STREAM.NAMES",
    "$KV.berth-keys.abc",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.CLAIMS.UPDATE",
    "$SRV.PING",
  ])("is refused %s at once", async (subject) => {
    await expect(a.nc.request(subject, "", { timeout: 2_000 })).rejects.toMatchObject({
      cause: expect.any(PermissionViolationError),
    });
  });

  it("answers an order once: the second answer to it reaches nobody", async () => {
    a.nc.subscribe("berth.down.wrk_A", {
      callback: (_, message) => {
        message.respond("first");
        message.respond("second");
      },
    });
    await a.nc.flush();
    const replies: string[] = [];
    rig.node.subscribe("_INBOX_node.wiretap.1", {
      callback: (_, message) => void replies.push(message.string()),
    });
    rig.node.publish("berth.down.wrk_A", "run", { reply: "_INBOX_node.wiretap.1" });
    const answer = await rig.node.request("berth.down.wrk_A", "run", { timeout: 2_000 });
    expect(answer.string()).toBe("first");
    await a.nc.flush();
    await rig.node.flush();
    expect(replies).toEqual(["first"]);
  });

  it("tells who asks at once that nobody is there, in both directions", async () => {
    const nobody = { message: expect.stringContaining("no responders") };
    await expect(
      rig.node.request("berth.down.wrk_X", "", { timeout: 9_000 }),
    ).rejects.toMatchObject(nobody);
    await expect(b.nc.request("berth.hello.wrk_B", "", { timeout: 9_000 })).rejects.toMatchObject(
      nobody,
    );
  });

  it("of a tenant's own account reaches the nodes, and no worker of another account", async () => {
    expect(await reaches(rich.nc, rig.node, "berth.hello.wrk_R")).toBe(true);
    for (const subject of ["_INBOX_worker.wrk_R.x", "berth.hello.wrk_R"])
      expect(await reaches(rich.nc, a.nc, subject)).toBe(false);
    expect(await refusal(rich.nc, "berth.down.wrk_A")).toBeInstanceOf(PermissionViolationError);
  });

  it("is of no use in another account, though the same key signs it", async () => {
    const acme = await rig.keeper.ensure(rich.account);
    const shared = await rig.keeper.ensure(a.account);
    expect(acme).not.toBe(shared);
    // The token is signed; one whose account is changed by hand is not.
    const [head, body = "", signature] = a.credential.jwt.split(".");
    const claims = Buffer.from(body, "base64url").toString().replace(shared, acme);
    const forged = Buffer.from(claims).toString("base64url");
    const jwt = `${head}.${forged}.${signature}`;
    await expect(rig.dial({ jwt, seed: a.credential.seed }, "_INBOX")).rejects.toThrow(
      /authorization/i,
    );
  });

  it("is of no use with another's key, and nobody gets in without one", async () => {
    await expect(
      rig.dial({ jwt: a.credential.jwt, seed: b.credential.seed }, "_INBOX"),
    ).rejects.toThrow(/authorization/i);
    await expect(connect({ servers: new URL(rig.nats.url).host })).rejects.toThrow(
      /authorization/i,
    );
  });

  it("has limits: on subscriptions, and on the size of a message", async () => {
    const greedy = await rig.worker("wrk_greedy");
    const said: string[] = [];
    void (async () => {
      for await (const status of greedy.nc.status())
        if (status.type === "error") said.push(status.error.message);
    })();
    for (let n = 0; n < 20; n += 1) greedy.nc.subscribe(`_INBOX_worker.wrk_greedy.${n}`);
    await greedy.nc.flush();
    await eventually(() => said.some((text) => /maximum subscriptions/i.test(text)), {
      name: "a refusal",
    });

    const loud = await rig.worker("wrk_loud");
    expect(loud.nc.info?.max_payload).toBe(512 * 1024);
    // Our client would not even send it.
    Object.assign(loud.nc.info ?? {}, { max_payload: 64 * 1024 * 1024 });
    loud.nc.publish("berth.hello.wrk_loud", new Uint8Array(700 * 1024));
    expect(await loud.nc.closed()).toBeInstanceOf(Error);
  });

  it("ends by itself: an expired one closes its connection and opens no other", async () => {
    await using short = await operatorRig({ ttlMs: 1_000 });
    const worker = await short.worker("wrk_short");
    expect(String(await worker.nc.closed())).toMatch(/expired/i);
    // The server counts in seconds: within the last one it lets it in, to close it at once.
    await eventually(
      async () => {
        const nc = await short.dial(worker.credential, "_INBOX").catch(() => undefined);
        await nc?.close();
        return nc === undefined;
      },
      { name: "it is refused" },
    );
  });
});
