import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { type AuditEntry, auditEntrySchema } from "../../protocols/audit.ts";
import { BerthError } from "../../protocols/errors.ts";
import { formatAnchor } from "../../runtime/audit-chain.ts";
import { type Evidence, readExport, type TenantReport, verifyChains } from "./audit-evidence.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
  wholeNumber,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import type { Gateway } from "./gateway.ts";
import { humaneAgo } from "./humane.ts";
import { listAction } from "./list.ts";
import type { Column } from "./table.ts";
import { oneLine } from "./terminal.ts";

interface AuditOptions extends ConnectionOptions {
  readonly tenant?: string;
}

interface ListOptions extends AuditOptions {
  readonly act?: string;
  readonly outcome?: string;
  readonly since?: string;
  readonly limit: number;
}

interface VerifyOptions extends AuditOptions {
  readonly anchor?: readonly string[];
}

const auditTenantCommand = (name: string, description: string) =>
  gatewayCommand(name, description).option("--tenant <id>", "as an operator: only this chain");

export function auditCommand(context: CliContext): Command {
  const list = auditTenantCommand("list", "who did what, and who was denied; newest first")
    .option("--act <name>", "only this act, such as key.create")
    .option("--outcome <outcome>", "only what was allowed, or denied")
    .option("--since <time>", "only since this time, such as 2026-01-31T00:00:00Z")
    .option("--limit <n>", "at most so many", wholeNumber(1), 100)
    .action(
      listAction(context, "operator", {
        rows: (gateway, { act, limit, outcome, since, tenant }: ListOptions) =>
          gateway.list("/v1/audit", auditEntrySchema, { act, outcome, since, tenant }, limit),
        empty: "No entries.",
        columns: entryColumns,
      }),
    );
  const verify = auditTenantCommand("verify", "whether an entry was changed, removed or moved")
    .argument("[file]", "an export; without one the trail is read from the gateway")
    .option("--anchor <[tenant=]seq:hash...>", "what an earlier verification printed")
    .action(
      action(context, (file: string | undefined, options: VerifyOptions) =>
        verifyTrail(context, file, options),
      ),
    );
  const exported = auditTenantCommand(
    "export",
    "the whole trail as JSON lines, oldest first",
  ).action(action(context, (options: AuditOptions) => exportTrail(context, options)));
  return new Command("audit")
    .description("list, verify or export the audit trail (operators, tenants' admins)")
    .addCommand(list, { isDefault: true })
    .addCommand(verify)
    .addCommand(exported);
}

function entryColumns(now: number): readonly Column<AuditEntry>[] {
  return [
    { title: "WHEN", align: "right", cell: ({ time }) => humaneAgo(Date.parse(time), now) },
    { title: "CHAIN", cell: ({ seq, tenant }) => `${tenant}/${seq}` },
    { title: "WHO", cell: ({ actor }) => oneLine(`${actor.user} (${actor.scope})`) },
    { title: "ACT", cell: ({ act, count }) => oneLine(count > 1 ? `${act} x${count}` : act) },
    {
      title: "OUTCOME",
      cell: ({ code, outcome }) => oneLine(code === null ? outcome : `${outcome}: ${code}`),
    },
    { title: "TARGET", shrinks: true, cell: ({ target }) => oneLine(target) },
  ];
}

async function exportTrail(context: CliContext, options: AuditOptions): Promise<number> {
  const gateway = await connect(context, asTenant(options), "operator");
  for await (const { entries } of readExport(gateway, options.tenant)) {
    for (const entry of entries) await context.terminal.out(`${JSON.stringify(entry)}\n`);
  }
  return EXIT.ok;
}

async function verifyTrail(
  context: CliContext,
  file: string | undefined,
  options: VerifyOptions,
): Promise<number> {
  const { terminal } = context;
  const evidence =
    file === undefined
      ? await readGateway(await connect(context, asTenant(options), "operator"), options.tenant)
      : await readLines(file);
  const chains = verifyChains(evidence, options.anchor ?? [], context.clock.now());
  if (options.json === true) await terminal.out(`${JSON.stringify(chains)}\n`);
  else if (chains.length === 0) await terminal.err("No entries.\n");
  else for (const chain of chains) await terminal.out(`${verdictLine(context, chain)}\n`);
  return chains.every(({ fault }) => fault === undefined) ? EXIT.ok : EXIT.jobFailed;
}

function verdictLine({ terminal }: CliContext, chain: TenantReport): string {
  const { entries, fault, last, pruned, tenant } = chain;
  const count = `${entries} entries${pruned > 0 ? `, ${pruned} pruned before them` : ""}`;
  const found = fault
    ? `${terminal.paint("red", fault.kind)}: ${fault.message}`
    : `whole; anchor ${last ? formatAnchor(last) : "none"}`;
  return `${oneLine(tenant)}: ${count}: ${found}`;
}

/** Whose chain it is says nothing of which development key is used. */
function asTenant(options: AuditOptions): ConnectionOptions {
  const { tenant: _, ...rest } = options;
  return rest;
}

async function readGateway(gateway: Gateway, tenant: string | undefined): Promise<Evidence> {
  const entries: AuditEntry[] = [];
  let retentionMs: number | null | undefined;
  for await (const page of readExport(gateway, tenant)) {
    entries.push(...page.entries);
    retentionMs = page.retentionMs;
  }
  return { entries, retentionMs };
}

async function readLines(file: string): Promise<Evidence> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new BerthError("config.invalid", `${file} cannot be read`, { cause });
  });
  const entries = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line, at) => parseLine(line, `${file}:${at + 1}`));
  return { entries, retentionMs: undefined };
}

function parseLine(line: string, where: string): AuditEntry {
  try {
    return auditEntrySchema.parse(JSON.parse(line));
  } catch (cause) {
    throw new BerthError("config.invalid", `${where} is not an entry of an audit trail`, { cause });
  }
}
