import { connect, type NatsConnection, PermissionViolationError } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ANY_ONE,
  allows,
  CHANNELS,
  type Principal,
  type Resource,
} from "../../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { inboxPrefix } from "../../../runtime/isolation/nats-permissions.ts";
import { subjectOf } from "../../support/isolation.ts";
import { startNats, type TestNats } from "../../support/nats.ts";

const worker: Principal = { kind: "container", id: ANY_ONE };
const resources: Resource[] = CHANNELS.flatMap((kind): Resource[] => {
  const one = { kind, owner: { kind: "container" as const, id: "wrk_A" } };
  if (kind !== "inbox") return [one];
  return [
    one,
    { kind, owner: { kind: "gateway", id: "g1" } },
    { kind, owner: { kind: "node", id: "n1" } },
  ];
});

let nats: TestNats;
let platform: NatsConnection;
let attacker: NatsConnection;

async function dial(url: string, prefix: string): Promise<NatsConnection> {
  const { host, username, password } = new URL(url);
  return await connect({ servers: host, user: username, pass: password, inboxPrefix: prefix });
}

beforeAll(async () => {
  nats = await startNats({ authorize: true });
  platform = await dial(nats.url, "_INBOX");
  attacker = await dial(nats.workerUrl, inboxPrefix(worker));
});
afterAll(async () => {
  await attacker?.close();
  await platform?.close();
  await nats?.[Symbol.asyncDispose]();
});

/** Whether a message that the worker publishes there reaches a listener. The flush orders it behind any refusal. */
async function canPublish(subject: string): Promise<boolean> {
  let count = 0;
  const heard = platform.subscribe(subject, {
    callback: () => {
      count += 1;
    },
  });
  await platform.flush();
  attacker.publish(subject, "x");
  await attacker.flush();
  await platform.flush();
  heard.unsubscribe();
  return count > 0;
}

/** Whether the worker hears what the platform publishes there. */
async function canSubscribe(subject: string): Promise<boolean> {
  let violation: unknown;
  let count = 0;
  const heard = attacker.subscribe(subject, {
    callback: (error) => {
      if (error) violation = error;
      else count += 1;
    },
  });
  await attacker.flush();
  platform.publish(subject, "x");
  await platform.flush();
  await attacker.flush();
  heard.unsubscribe();
  if (violation !== undefined) expect(violation).toBeInstanceOf(PermissionViolationError);
  return count > 0;
}

describe("the workers' credential on a real server", () => {
  it.each(
    resources.map((resource) => [`${resource.owner.kind}'s ${resource.kind}`, resource] as const),
  )("%s: the broker answers as the policy does", async (_, resource) => {
    const subject = subjectOf(resource);
    const probe = { principal: worker, resource };
    // Nobody can listen on the broker's own subjects, so there only the refusal can be seen.
    if (!subject.startsWith("$")) {
      expect(await canPublish(subject)).toBe(
        allows(ISOLATION_POLICY, { ...probe, action: "publish" }),
      );
    }
    expect(await canSubscribe(subject)).toBe(
      allows(ISOLATION_POLICY, { ...probe, action: "subscribe" }),
    );
  });

  it.each(["$JS.API.STREAM.NAMES", "$JS.API.INFO", "$SYS.REQ.SERVER.PING", "$SRV.PING"])(
    "a request to %s is refused at once, not answered",
    async (subject) => {
      await expect(attacker.request(subject, "", { timeout: 2_000 })).rejects.toMatchObject({
        cause: expect.any(PermissionViolationError),
      });
    },
  );

  it.each([">", "berth.>", "_INBOX.>", "berth.live.>", "$KV.>"])(
    "it cannot listen to %s",
    async (subject) => {
      const refused = new Promise((resolve) => {
        attacker.subscribe(subject, { callback: (error) => resolve(error) });
      });
      await attacker.flush();
      expect(await refused).toBeInstanceOf(PermissionViolationError);
    },
  );

  it("it answers an order on its down subject, and may not use the reply subject a second time", async () => {
    const replies: string[] = [];
    const orders = attacker.subscribe("berth.down.wrk_A", {
      callback: (_, message) => {
        message.respond("first");
        message.respond("second");
      },
    });
    await attacker.flush();
    const heard = platform.subscribe("_INBOX.wiretap.1", {
      callback: (_, message) => void replies.push(message.string()),
    });
    platform.publish("berth.down.wrk_A", "run", { reply: "_INBOX.wiretap.1" });
    const answer = await platform.request("berth.down.wrk_A", "run", { timeout: 2_000 });
    expect(answer.string()).toBe("first");
    await attacker.flush();
    await platform.flush();
    expect(replies).toEqual(["first"]);
    orders.unsubscribe();
    heard.unsubscribe();
  });

  it("its requests are answered under its own inbox prefix", async () => {
    const hellos = platform.subscribe("berth.hello.*", {
      callback: (_, message) => void message.respond("welcome"),
    });
    await platform.flush();
    const answer = await attacker.request("berth.hello.wrk_A", "", { timeout: 2_000 });
    expect(answer.string()).toBe("welcome");
    hellos.unsubscribe();
  });

  it("without a credential, or with a wrong password, nobody gets in", async () => {
    const { host } = new URL(nats.url);
    await expect(connect({ servers: host })).rejects.toThrow(/authorization/i);
    await expect(
      connect({ servers: host, user: "worker", pass: "guessed-password" }),
    ).rejects.toThrow(/authorization/i);
  });
});
