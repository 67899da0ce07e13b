/** `berth policy`: who may talk to whom, and what keeps the others away. Reads the policy of this build; asks no deployment. */
import { Command, InvalidArgumentError } from "commander";
import { idSchema } from "../../protocols/ids.ts";
import {
  type Grant,
  PRINCIPAL_KINDS,
  type Principal,
  type PrincipalKind,
} from "../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../protocols/isolation-policy.ts";
import { containerReach } from "../../runtime/isolation/container-reach.ts";
import {
  describeGrant,
  describePrincipal,
  type Explanation,
  explain,
} from "../../runtime/isolation/explanation.ts";
import { natsPermissions } from "../../runtime/isolation/nats-permissions.ts";
import { networkPolicies } from "../../runtime/isolation/network-policies.ts";
import type { CliContext } from "./context.ts";
import { type Column, renderTable } from "./table.ts";

const FORM = `KIND[:ID][@TENANT[/USER]], such as container@acme/ann, user@acme/ann, gateway, node`;
const PORTS = { broker: 4222, egress: 3128, api: 8000 };

export function policyCommand(context: CliContext): Command {
  return new Command("policy")
    .description("show the isolation policy of this build and what follows from it")
    .addCommand(showCommand(context))
    .addCommand(explainCommand(context));
}

/** Throws commander's error for a wrong argument: usage is shown and the exit code is 2. */
export function parsePrincipal(text: string): Principal {
  const [, kind, id, tenant, user] =
    /^([A-Za-z]+)(?::([^@/]+))?(?:@([^/]+)(?:\/(.+))?)?$/.exec(text) ?? [];
  const known = PRINCIPAL_KINDS.find((name) => name === kind);
  if (known === undefined)
    throw new InvalidArgumentError(`It is ${FORM}. Kinds are ${PRINCIPAL_KINDS.join(", ")}.`);
  const parts = [id, tenant, user].filter((part) => part !== undefined);
  if (parts.some((part) => !idSchema.safeParse(part).success))
    throw new InvalidArgumentError(`It is ${FORM}; ids are letters, digits, "-" and "_".`);
  return {
    kind: known,
    id: id ?? user ?? defaultId(known),
    ...(tenant === undefined ? {} : { tenant }),
    ...(user === undefined ? {} : { user }),
  };
}

const defaultId = (kind: PrincipalKind) => (kind === "container" ? "worker" : kind);

function showCommand(context: CliContext): Command {
  return new Command("show")
    .description("every grant, or one projection of them")
    .option("--nats <principal>", `the broker's permissions of ${FORM}`, parsePrincipal)
    .option("--kubernetes", "NetworkPolicies, as JSON")
    .option("--network", "what a container reaches")
    .option("--json", "as JSON")
    .action(async (options: ShowOptions) => {
      const { terminal } = context;
      await terminal.out(
        options.json === true
          ? `${JSON.stringify(shown(options), null, 2)}\n`
          : text(context, options),
      );
    });
}

interface ShowOptions {
  readonly nats?: Principal;
  readonly kubernetes?: boolean;
  readonly network?: boolean;
  readonly json?: boolean;
}

function shown({ nats, kubernetes, network }: ShowOptions): unknown {
  if (nats !== undefined) return natsPermissions(ISOLATION_POLICY, nats);
  if (kubernetes === true) return networkPolicies(ISOLATION_POLICY, { ports: PORTS, fleets: [] });
  return network === true ? containerReach(ISOLATION_POLICY) : ISOLATION_POLICY;
}

function text({ terminal }: CliContext, options: ShowOptions): string {
  const { kubernetes, nats, network } = options;
  if (nats !== undefined || kubernetes === true || network === true)
    return `${JSON.stringify(shown(options), null, 2)}\n`;
  const columns: readonly Column<Grant>[] = [
    { title: "WHO", cell: ({ principal }) => principal },
    { title: "MAY", cell: ({ action }) => action },
    { title: "WHOSE", cell: ({ scope }) => scope },
    {
      title: "WHAT",
      shrinks: true,
      cell: ({ names, resources }) =>
        names === undefined ? resources.join(" ") : `${resources.join(" ")}: ${names.join(" ")}`,
    },
  ];
  return `${renderTable(columns, ISOLATION_POLICY, terminal)}What no line allows is refused.\n`;
}

function explainCommand(context: CliContext): Command {
  return new Command("explain")
    .description("what A may do to what belongs to B, and by which grant")
    .argument("<a>", FORM, parsePrincipal)
    .argument("<b>", "the same, of whom things are", parsePrincipal)
    .option("--json", "as JSON")
    .action(async (a: Principal, b: Principal, options: { readonly json?: boolean }) => {
      const all = explain(ISOLATION_POLICY, a, b);
      const { terminal } = context;
      if (options.json === true) {
        const rows = all.map(({ action, grant, resource: { kind, name } }) => ({
          action,
          resource: kind,
          name: name ?? null,
          allowed: grant !== undefined,
          by: grant === undefined ? null : describeGrant(grant),
        }));
        await terminal.out(`${JSON.stringify(rows, null, 2)}\n`);
        return;
      }
      const title = `${describePrincipal(a)} on what belongs to ${describePrincipal(b)}\n`;
      const columns: readonly Column<Explanation>[] = [
        { title: "", cell: ({ grant }) => (grant ? "may" : "may not") },
        { title: "DO", cell: ({ action }) => action },
        {
          title: "TO",
          cell: ({ resource: { kind, name } }) => (name === undefined ? kind : `${kind} ${name}`),
        },
        {
          title: "BECAUSE",
          shrinks: true,
          cell: ({ grant }) => (grant ? describeGrant(grant) : "nothing grants it"),
        },
      ];
      await terminal.out(title + renderTable(columns, all, terminal));
    });
}
