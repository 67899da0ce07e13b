/** Every person of the matrix at every group of routes, for everybody's things, over HTTP with real keys. */
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  allows,
  type Principal,
  type Resource,
  type RouteGroup,
} from "../../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { resourcesOf } from "../../../protocols/isolation-resources.ts";
import type { Scope } from "../../../protocols/records.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { PEOPLE, PLATFORM } from "../../support/isolation-matrix.ts";

const TENANTS = ["acme", "globex"];
const SCOPES: Partial<Record<Principal["kind"], Scope>> = {
  user: "user",
  tenantAdmin: "tenant_admin",
  operator: "operator",
};
type Action = "read" | "write";
interface Attempt {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}
/** What is tried on things of `owner`; undefined: no request can name somebody else's. */
type Attack = (
  owner: Principal,
  action: Action,
) => Promise<Attempt | undefined> | Attempt | undefined;

let rig: GatewayRig;
const keyOf = (principal: Principal) =>
  `key-${principal.kind}-${principal.tenant ?? ""}-${principal.id}`;

beforeAll(async () => {
  rig = await startGatewayRig({ tiers: { pro: { queuedJobs: 1_000, jobsPerHour: 1_000_000 } } });
  for (const id of TENANTS) {
    const body = { name: id, tier: "pro" };
    await expectOk(rig.api("PUT", `/v1/tenants/${id}`, { key: rig.keys.operator, body }));
  }
  for (const principal of PEOPLE) {
    const { tenant, id: user, kind } = principal;
    const scope = SCOPES[kind]!;
    await rig.addKey(keyOf(principal), { user, scope, ...(tenant ? { tenant } : {}) });
  }
});
afterAll(() => rig[Symbol.asyncDispose]());

async function expectOk(asked: Promise<Response>): Promise<Response> {
  const answer = await asked;
  expect(answer.ok, await answer.clone().text()).toBe(true);
  return answer;
}

const made = new Map<string, Promise<string>>();

/** One of the owner's, made by the owner. What is written to is not asked for again. */
async function own(owner: Principal, what: "sessions" | "jobs", action: Action): Promise<string> {
  const make = async () => {
    const body = what === "jobs" ? { agent: "shell", prompt: "x" } : { agent: "shell" };
    const answer = await expectOk(rig.api("POST", `/v1/${what}`, { key: keyOf(owner), body }));
    return ((await answer.json()) as { readonly id: string }).id;
  };
  if (action === "write") return await make();
  const name = `${keyOf(owner)} ${what}`;
  const known = made.get(name) ?? make();
  made.set(name, known);
  return await known;
}

const personal: Attack = () => undefined;
const ATTACKS: Record<RouteGroup, Attack> = {
  account: personal,
  submission: personal,
  credentials: personal,
  // The log of a worker needs a host: test/integration/docker/seeing.
  workerLogs: personal,
  agents: (_, action) => (action === "read" ? { method: "GET", path: "/v1/agents" } : undefined),
  sessions: async (owner, action) => ({
    method: action === "read" ? "GET" : "DELETE",
    path: `/v1/sessions/${await own(owner, "sessions", action)}`,
  }),
  jobs: async (owner, action) => {
    const path = `/v1/jobs/${await own(owner, "jobs", action)}`;
    return action === "read" ? { method: "GET", path } : { method: "POST", path: `${path}/cancel` };
  },
  keys: ({ tenant }, action) => {
    const path = `/v1/tenants/${tenant}/keys`;
    if (action === "read") return { method: "GET", path };
    return { method: "POST", path, body: { name: "k", user: "someone", scope: "user" } };
  },
  tenants: (_, action) => {
    const path = "/v1/tenants/acme";
    if (action === "read") return { method: "GET", path };
    return { method: "PUT", path, body: { name: "acme", tier: "pro" } };
  },
  workers: ({ tenant }, action) =>
    action === "read" ? { method: "GET", path: `/v1/workers?tenant=${tenant}` } : undefined,
  audit: ({ tenant }, action) =>
    action === "read" ? { method: "GET", path: `/v1/audit?tenant=${tenant}` } : undefined,
  queues: (_, action) => (action === "read" ? { method: "GET", path: "/v1/queues" } : undefined),
  nodes: (_, action) =>
    action === "read"
      ? { method: "GET", path: "/v1/nodes" }
      : { method: "POST", path: "/v1/nodes/none/drain" },
  vault: (_, action) =>
    action === "read"
      ? { method: "GET", path: "/v1/vault" }
      : { method: "POST", path: "/v1/vault/rotate", body: {} },
  actors: (_, action) =>
    action === "read"
      ? { method: "GET", path: "/v1/actors" }
      : { method: "POST", path: "/v1/actors/acme/user/nobody/unpark" },
  deadLetters: (_, action) =>
    action === "read"
      ? { method: "GET", path: "/v1/dead-letters" }
      : { method: "POST", path: "/v1/dead-letters/dl-1/replay" },
};

/** A refusal is 403; what belongs to others does not exist. A thing of the platform that is not there is found missing by who may look. */
function isLetIn(status: number, resource: Resource): boolean {
  // No node of this test holds the vault's keys.
  if (resource.name !== "vault") expect(status).toBeLessThan(500);
  expect(status).not.toBe(401);
  return status !== 403 && (status !== 404 || resource.owner === PLATFORM);
}

const resources = [PLATFORM, ...PEOPLE]
  .flatMap(resourcesOf)
  .filter(({ kind, owner }) => kind === "route" && owner.kind !== "operator");

test.each(PEOPLE.map((principal) => [keyOf(principal), principal] as const))(
  "%s is let in and refused as the policy says",
  async (key, principal) => {
    let asked = 0;
    const differences: string[] = [];
    for (const resource of resources) {
      const group = resource.name as RouteGroup;
      for (const action of ["read", "write"] as const) {
        const attempt = await ATTACKS[group](resource.owner, action);
        if (attempt === undefined) continue;
        const { method, path, body } = attempt;
        const { status } = await rig.api(method, path, { key, ...(body ? { body } : {}) });
        const said = allows(ISOLATION_POLICY, { principal, action, resource });
        asked += 1;
        if (isLetIn(status, resource) !== said)
          differences.push(`${status} to ${method} ${path}; the policy: ${said}`);
      }
    }
    process.stdout.write(`${key}: ${asked} requests\n`);
    expect(differences).toEqual([]);
    expect(asked).toBeGreaterThan(40);
  },
);
