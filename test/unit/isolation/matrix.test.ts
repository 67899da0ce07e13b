/** The policy and its projections, each asked every question of the matrix. */
import { describe, expect, it } from "vitest";
import { allows, type Policy, type Probe } from "../../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { nameOf, probes } from "../../support/isolation-matrix.ts";
import {
  dockerJudge,
  engineJudge,
  gatewayJudge,
  type Judge,
  kubernetesJudge,
  natsJudge,
  PROJECTIONS,
  type Projections,
} from "../../support/isolation-projections.ts";

const matrix = probes();

function judges(projections: Projections, policy: Policy): Record<string, Judge> {
  return {
    nats: natsJudge(policy, projections),
    docker: dockerJudge(policy, projections),
    kubernetes: kubernetesJudge(policy, projections),
    gateway: gatewayJudge(policy, projections),
    engine: engineJudge,
  };
}

/** Where a projection says otherwise than the policy, and how many questions each was asked. */
function compare(projections: Projections, policy: Policy = ISOLATION_POLICY) {
  const asked: Record<string, number> = {};
  const differences: string[] = [];
  for (const [name, judge] of Object.entries(judges(projections, policy))) {
    for (const probe of matrix) {
      const answer = judge(probe);
      if (answer === undefined) continue;
      asked[name] = (asked[name] ?? 0) + 1;
      if (answer !== allows(ISOLATION_POLICY, probe))
        differences.push(`${name} ${answer ? "lets" : "refuses"}: ${nameOf(probe)}`);
    }
  }
  return { asked, differences };
}

describe("the isolation policy", () => {
  it("is what every projection of it says, for every principal and resource", () => {
    const { asked, differences } = compare(PROJECTIONS);
    const granted = matrix.filter((probe) => allows(ISOLATION_POLICY, probe)).length;
    const counts = Object.entries(asked).map(([name, count]) => `${name} ${count}`);
    process.stdout.write(
      `isolation matrix: ${matrix.length} questions, ${granted} granted; asked ${counts.join(", ")}\n`,
    );
    expect(differences).toEqual([]);
    expect(Object.keys(asked)).toEqual(["nats", "docker", "kubernetes", "gateway", "engine"]);
  });

  it("is asked every question by some projection", () => {
    const all = Object.values(judges(PROJECTIONS, ISOLATION_POLICY));
    // What works through a node has no address of its own; what is outside of all networks is asked of the API alone.
    const isElsewhere = ({ principal, resource }: Probe) =>
      principal.kind === "supervisor" || ["host", "metadata", "internet"].includes(resource.kind);
    const isAsked = (probe: Probe) =>
      isElsewhere(probe) || all.some((judge) => judge(probe) !== undefined);
    expect(matrix.filter((probe) => !isAsked(probe)).map(nameOf)).toEqual([]);
  });

  const { nats, reach, kubernetes, gateway } = PROJECTIONS;
  const weakened: Record<string, Partial<Projections>> = {
    "a container may publish everywhere": {
      nats: (policy, principal) => {
        const given = nats(policy, principal);
        return principal.kind === "container" ? { ...given, publish: [">"] } : given;
      },
    },
    "a gateway reads the vault": {
      nats: (policy, principal) => {
        const given = nats(policy, principal);
        const reads = ["$JS.API.STREAM.MSG.GET.*", "$JS.API.CONSUMER.CREATE.>"];
        return principal.kind === "gateway"
          ? { ...given, publish: [...given.publish, ...reads] }
          : given;
      },
    },
    "a container hears all inboxes of containers": {
      nats: (policy, principal) => {
        const given = nats(policy, principal);
        return principal.kind === "container"
          ? { ...given, subscribe: [...given.subscribe, "_INBOX_worker.>"] }
          : given;
      },
    },
    "the network lets containers out": {
      reach: (policy) => ({ ...reach(policy), internet: "any" }),
    },
    "containers of a network reach each other": {
      reach: (policy) => ({ ...reach(policy), container: "any" }),
    },
    "the broker's door is shut": { reach: (policy) => ({ ...reach(policy), broker: "none" }) },
    "the workers' policy is missing": {
      kubernetes: (policy) =>
        kubernetes(policy).filter(({ metadata }) => !/deny|worker/.test(metadata.name)),
    },
    "the broker lets everybody in": {
      kubernetes: (policy) =>
        kubernetes(policy).filter(({ metadata }) => !/deny|broker/.test(metadata.name)),
    },
    "fleets share one policy": {
      kubernetes: (policy) =>
        JSON.parse(JSON.stringify(kubernetes(policy)).replaceAll(',"berth.tenant":"initech"', "")),
    },
    "a user is taken for an admin": {
      gateway: (policy, scope, ...rest) =>
        gateway(policy, scope === "user" ? "tenant_admin" : scope, ...rest),
    },
    "admins reach every tenant": {
      gateway: (policy, scope, ...rest) =>
        gateway(policy, scope === "tenant_admin" ? "operator" : scope, ...rest),
    },
  };

  it.each(Object.entries(weakened))("is seen to be broken when %s", (_, weaker) => {
    expect(compare({ ...PROJECTIONS, ...weaker }).differences).not.toEqual([]);
  });

  it("is seen to be broken when a projection follows a policy with a grant more or less", () => {
    const missed = ISOLATION_POLICY.map((_, index) => index).filter(
      (index) =>
        compare(PROJECTIONS, ISOLATION_POLICY.toSpliced(index, 1)).differences.length === 0,
    );
    const silent = missed.map((index) => {
      const { principal, action } = ISOLATION_POLICY[index]!;
      return `${principal} ${action}`;
    });
    // Answers go to whoever asked, which no subject shows. A node that administers a store reads it. Holdings go by
    // labels and names. A cluster takes all people for one.
    expect([...new Set(silent)].toSorted()).toEqual([
      "container answer",
      "container use",
      "node answer",
      "node control",
      "node read",
      "node remove",
      "operator connect",
      "supervisor control",
      "tenantAdmin connect",
      "user connect",
    ]);
  });
});
