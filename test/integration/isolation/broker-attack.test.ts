/** Every subject and store of the matrix, tried on a real nats-server by containers and gateways with their own credentials. */
import { type NatsConnection, PermissionViolationError } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { gatewayCredential, gatewayInbox } from "../../../deploy/nats/auth/gateway-credential.ts";
import { allows, type Principal, type Probe } from "../../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { eventually } from "../../support/eventually.ts";
import { nameOf, PRINCIPALS, probes } from "../../support/isolation-matrix.ts";
import { subjectsOf } from "../../support/isolation-projections.ts";
import { type OperatorRig, operatorRig } from "../../support/operator-rig.ts";

let rig: OperatorRig;
beforeAll(async () => {
  rig = await operatorRig();
});
afterAll(() => rig?.[Symbol.asyncDispose]());

const asked = probes().filter((probe) => subjectsOf(probe).length > 0);

/** A subject that is in no policy. */
const NOBODYS = "nobody.is.granted.this";

/** A tenant as a whole has an account of its own, others share one. */
async function dial({ kind, id, tenant, user }: Principal): Promise<NatsConnection> {
  if (kind === "gateway") {
    const credential = gatewayCredential(rig.nats.keys, id, Math.floor(Date.now() / 1_000));
    return await rig.dial(credential, gatewayInbox(credential));
  }
  const isFleet = tenant !== undefined && user === undefined;
  const owner = { tenant: tenant ?? "platform", tier: isFleet ? "enterprise" : "pro" } as const;
  return (await rig.worker(id, owner)).nc;
}

/** Subjects that the broker refused this connection to publish on, as it tells them. */
function listenForRefusals(nc: NatsConnection): Set<string> {
  const refused = new Set<string>();
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type !== "error" || !(status.error instanceof PermissionViolationError)) continue;
      if (status.error.operation === "publish") refused.add(status.error.subject);
    }
  })();
  return refused;
}

async function maySubscribe(nc: NatsConnection, subject: string): Promise<boolean> {
  let refusal: unknown;
  const heard = nc.subscribe(subject, {
    callback: (error) => {
      if (error) refusal = error;
    },
  });
  await nc.flush();
  heard.unsubscribe();
  return refusal === undefined;
}

async function tryAll(nc: NatsConnection, all: readonly Probe[]): Promise<Map<Probe, boolean>> {
  const refused = listenForRefusals(nc);
  const answers = new Map<Probe, boolean>();
  for (const probe of all.filter(({ action }) => action === "subscribe")) {
    const [subject = ""] = subjectsOf(probe);
    answers.set(probe, await maySubscribe(nc, subject));
  }
  const published = all.filter(({ action }) => action !== "subscribe");
  for (const probe of published) for (const subject of subjectsOf(probe)) nc.publish(subject, "x");
  // The broker refuses in order.
  nc.publish(NOBODYS, "x");
  await eventually(() => refused.has(NOBODYS), { name: "the last refusal" });
  for (const probe of published)
    answers.set(probe, !subjectsOf(probe).some((subject) => refused.has(subject)));
  return answers;
}

const attackers = PRINCIPALS.filter(({ kind }) => kind === "container" || kind === "gateway");

test.each(attackers.map((principal) => [principal.id, principal] as const))(
  "%s is let in and refused by the broker as the policy says",
  async (_, principal) => {
    const own = asked.filter((probe) => probe.principal === principal);
    const answers = await tryAll(await dial(principal), own);
    const differences = own
      .filter((probe) => answers.get(probe) !== allows(ISOLATION_POLICY, probe))
      .map((probe) => `the broker ${answers.get(probe) ? "lets" : "refuses"}: ${nameOf(probe)}`);
    process.stdout.write(`${principal.id}: ${own.length} questions to the broker\n`);
    expect(differences).toEqual([]);
    const granted = [...answers.values()].filter(Boolean).length;
    if (principal.kind === "container") expect(granted).toBe(5);
    else expect(granted).toBeGreaterThan(20);
    expect(own.length).toBeGreaterThan(150);
  },
);
