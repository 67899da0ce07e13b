import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  type UsualKey,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import type { Gateway } from "./gateway.ts";
import { type Column, renderTable } from "./table.ts";

/** Rows that a list without a limit of its own reads at most. */
export const MOST = 1_000;

/** Prints a list as a table, as one JSON array, or as a sentence when it is empty. */
export async function printList<T>(
  { terminal }: Pick<CliContext, "terminal">,
  list: {
    readonly rows: readonly T[];
    readonly columns: readonly Column<T>[];
    readonly json: boolean | undefined;
    readonly empty: string;
  },
): Promise<number> {
  if (list.json === true) await terminal.out(`${JSON.stringify(list.rows)}\n`);
  else if (list.rows.length === 0) await terminal.err(`${list.empty}\n`);
  else await terminal.out(renderTable(list.columns, list.rows, terminal));
  return EXIT.ok;
}

/** The action of a command that reads rows from a gateway and prints them. */
export function listAction<T, O extends ConnectionOptions>(
  context: CliContext,
  usual: UsualKey,
  list: {
    readonly rows: (gateway: Gateway, options: O) => Promise<readonly T[]>;
    /** `now` is one instant for the whole table. */
    readonly columns: (now: number) => readonly Column<T>[];
    readonly empty: string;
  },
): (options: O) => Promise<void> {
  return action(context, async (options: O) => {
    const rows = await list.rows(await connect(context, options, usual), options);
    const columns = list.columns(context.clock.now());
    return printList(context, { rows, columns, json: options.json, empty: list.empty });
  });
}
