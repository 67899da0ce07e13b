import type { Command } from "commander";
import {
  type ApiWorker,
  type WorkerPage,
  workerPageSchema,
} from "../../protocols/api-operators.ts";
import { type CliContext, type ConnectionOptions, tenantCommand } from "./context.ts";
import type { Gateway } from "./gateway.ts";
import { humaneAgo, humaneBytes, humaneDuration } from "./humane.ts";
import { listAction, MOST } from "./list.ts";
import type { Column } from "./table.ts";
import { oneLine } from "./terminal.ts";
import { paintState } from "./tones.ts";

const PAGE = 200;
/** Between two readings of CPU time: a rate needs both, and a gateway reads at most once a second. */
export const SECOND_LOOK_MS = 1_100;

export function workersCommand(context: CliContext): Command {
  return tenantCommand(
    "workers",
    "list workers: state, use of CPU and memory, idle time left (operators)",
  ).action(
    listAction(context, "operator", {
      rows: (gateway, { tenant }: ConnectionOptions) => readWorkers(context, gateway, tenant),
      empty: "No workers.",
      columns: (now) => columns(context, now),
    }),
  );
}

async function readWorkers(
  { clock, terminal }: CliContext,
  gateway: Gateway,
  tenant: string | undefined,
): Promise<ApiWorker[]> {
  let page = await readPages(gateway, tenant);
  if (page.data.some(isUnrated)) {
    await clock.sleep(SECOND_LOOK_MS);
    page = await readPages(gateway, tenant);
  }
  if (page.unanswered.length > 0)
    await terminal.err(`no answer from ${page.unanswered.join(", ")}: use there is not known\n`);
  const dormant = dormantText(page.dormant ?? {});
  if (dormant !== "") await terminal.err(`dormant: ${dormant}\n`);
  return page.data;
}

async function readPages(
  gateway: Gateway,
  tenant: string | undefined,
): Promise<Omit<WorkerPage, "next">> {
  const data: ApiWorker[] = [];
  const silent = new Set<string>();
  let dormant: WorkerPage["dormant"] = null;
  let after: string | undefined;
  do {
    const limit = Math.min(PAGE, MOST - data.length);
    const page = await gateway.get("/v1/workers", workerPageSchema, { tenant, limit, after });
    data.push(...page.data);
    for (const node of page.unanswered) silent.add(node);
    dormant = page.dormant;
    after = page.next ?? undefined;
  } while (after !== undefined && data.length < MOST);
  return { data, dormant, unanswered: [...silent] };
}

/** Measured, but only once so far. */
export function isUnrated(worker: Pick<ApiWorker, "cpus_used" | "memory_bytes">): boolean {
  return worker.cpus_used === null && worker.memory_bytes !== null;
}

/** `1 free, 2 pro`; empty when there are none. */
export function dormantText(dormant: Readonly<Record<string, number>>): string {
  const present = Object.entries(dormant).filter(([, count]) => count > 0);
  return present.map(([tier, count]) => `${count} ${tier}`).join(", ");
}

function columns({ terminal }: CliContext, now: number): readonly Column<ApiWorker>[] {
  return [
    { title: "WORKER", cell: (worker) => worker.id },
    {
      title: "STATE",
      cell: ({ phase, step }) =>
        step === null ? paintState(terminal, phase) : terminal.paint("cyan", `${phase}: ${step}`),
    },
    { title: "TIER", cell: (worker) => worker.tier },
    { title: "FOR", shrinks: true, cell: servesText },
    { title: "SLOTS", align: "right", cell: ({ jobs, slots }) => `${jobs.length}/${slots}` },
    { title: "CPU", align: "right", cell: cpuText },
    { title: "MEM", align: "right", cell: memoryText },
    { title: "IDLE LEFT", align: "right", cell: (worker) => idleText(worker, now) },
    {
      title: "AGE",
      align: "right",
      cell: (worker) => humaneAgo(Date.parse(worker.created_at), now),
    },
    { title: "IMAGE", shrinks: true, cell: ({ image }) => (image === null ? "-" : oneLine(image)) },
    { title: "DRIVER", cell: (worker) => worker.driver ?? "" },
    { title: "HOST", shrinks: true, cell: (worker) => worker.host ?? "" },
  ];
}

export function servesText(worker: Pick<ApiWorker, "tenant" | "user" | "agent">): string {
  return [worker.tenant, worker.user, worker.agent].filter(Boolean).join("/");
}

/** CPUs in use of those it may use: `0.42/2`. */
export function cpuText(worker: Pick<ApiWorker, "cpus_used" | "cpus_limit">): string {
  return worker.cpus_used === null ? "-" : `${worker.cpus_used.toFixed(2)}/${worker.cpus_limit}`;
}

/** `212 MiB/2.0 GiB`, or what is used alone where the driver sets no limit. */
export function memoryText(worker: Pick<ApiWorker, "memory_bytes" | "memory_limit_bytes">): string {
  const { memory_bytes: used, memory_limit_bytes: limit } = worker;
  if (used === null) return "-";
  return limit === null ? humaneBytes(used) : `${humaneBytes(used)}/${humaneBytes(limit)}`;
}

/** When it goes if nothing happens: `stays` is never, `-` is that it is in use or not up. */
export function idleText(
  worker: Pick<ApiWorker, "phase" | "idle_since" | "idle_deadline">,
  now: number,
): string {
  if (worker.phase !== "idle" || worker.idle_since === null) return "-";
  if (worker.idle_deadline === null) return "stays";
  return humaneDuration(Math.max(0, Date.parse(worker.idle_deadline) - now));
}
