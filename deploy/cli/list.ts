import type { CliContext } from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { type Column, renderTable } from "./table.ts";

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
