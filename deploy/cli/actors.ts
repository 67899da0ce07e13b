import { type Command, Option } from "commander";
import { activationPageSchema } from "../../protocols/api-operators.ts";
import {
  ACTIVATION_STATES,
  type ApiActivation,
  activationSchema,
} from "../../protocols/inspection.ts";
import { type CliContext, type ConnectionOptions, tenantCommand, wholeNumber } from "./context.ts";
import type { Gateway } from "./gateway.ts";
import { humaneDuration } from "./humane.ts";
import { listAction } from "./list.ts";
import type { Column } from "./table.ts";
import { oneLine } from "./terminal.ts";

interface ActorsOptions extends ConnectionOptions {
  readonly node?: string;
  readonly kind?: string;
  readonly state?: string;
  readonly limit: number;
}

const PAGE = 200;

export function actorsCommand(context: CliContext): Command {
  return tenantCommand("actors", "list actors in memory and what each waits on (operators)")
    .option("--node <id>", "only on this node")
    .option("--kind <kind>", "only of this kind")
    .addOption(
      new Option("--state <state>", "only those that wait on this").choices(ACTIVATION_STATES),
    )
    .option("--limit <count>", "at most so many", wholeNumber(1), 100)
    .action(
      listAction(context, "operator", {
        rows: (gateway, options: ActorsOptions) => readActors(context, gateway, options),
        columns: () => COLUMNS,
        empty: "No actor in memory.",
      }),
    );
}

/** Page by page; each names the nodes that did not answer. */
async function readActors(
  { terminal }: CliContext,
  gateway: Gateway,
  { kind, limit: most, node, state, tenant }: ActorsOptions,
): Promise<ApiActivation[]> {
  const rows: ApiActivation[] = [];
  const silent = new Set<string>();
  let after: string | undefined;
  do {
    const limit = Math.min(PAGE, most - rows.length);
    const query = { node, kind, tenant, state, limit, after };
    const page = await gateway.get("/v1/actors", activationPageSchema, query);
    rows.push(...page.data.map((row) => activationSchema.parse(row)));
    for (const id of page.unanswered) silent.add(id);
    after = page.next ?? undefined;
  } while (after !== undefined && rows.length < most);
  if (silent.size > 0)
    await terminal.err(`no answer from ${[...silent].join(", ")}: actors there are not listed\n`);
  return rows;
}

const COLUMNS: readonly Column<ApiActivation>[] = [
  { title: "ACTOR", cell: ({ tenant, kind, key }) => `${tenant}/${kind}/${key}` },
  { title: "NODE", cell: ({ node }) => node },
  { title: "WAITING", align: "right", cell: ({ waiting }) => String(waiting) },
  { title: "OLDEST", align: "right", cell: ({ oldest_waiting_ms: ms }) => durationOr(ms, "-") },
  { title: "TURNS", align: "right", cell: ({ turns }) => String(turns) },
  { title: "FOR", align: "right", cell: ({ for_ms }) => humaneDuration(for_ms) },
  { title: "STATE", shrinks: true, cell: ({ state }) => oneLine(stateText(state)) },
];

function durationOr(ms: number | null, none: string): string {
  return ms === null ? none : humaneDuration(ms);
}

/** What an actor waits on, in one line; a state that this build does not know shows by its name. */
export function stateText(state: ApiActivation["state"]): string {
  const { attempts, code, lane, left, message, reason, seq, to, tools, turns, type, until } = state;
  switch (type) {
    case "handling":
      return `handling ${message}`;
    case "committing":
      return `committing ${message}${turns !== undefined && turns > 1 ? ` and ${turns - 1} more` : ""}`;
    case "publishing":
      return `publishing ${left} to ${to}`;
    case "backoff":
      return `backoff until ${until}, ${attempts} tries, ${code}`;
    case "reading-mail":
      return `reading-mail ${left} left`;
    case "waiting-for-mail":
      return `waiting-for-mail ${lane} ${seq}`;
    case "parked":
    case "stopped":
      return `${type} ${until === undefined ? "" : `until ${until} `}by ${code}: ${reason}`;
    case "effects":
      return `effects ${tools?.join(", ")}`;
    default:
      return type;
  }
}
