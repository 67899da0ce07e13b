import { Command } from "commander";
import {
  type WholeWorker,
  wholeWorkerSchema,
  workerLogSchema,
} from "../../protocols/api-operators.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { type Fact, renderFacts } from "./facts.ts";
import { humaneAgo, humaneBytes } from "./humane.ts";
import { oneLine, plainLines } from "./terminal.ts";
import { cpuText, idleText, isUnrated, memoryText, SECOND_LOOK_MS, servesText } from "./workers.ts";

type WorkerAction = (
  context: CliContext,
  id: string,
  options: ConnectionOptions,
) => Promise<number>;

export function workerCommand(context: CliContext): Command {
  const named = (name: string, description: string, run: WorkerAction) =>
    gatewayCommand(name, description)
      .argument("<id>", "the worker, as lists and events show it")
      .action(
        action(context, (id: string, options: ConnectionOptions) => run(context, id, options)),
      );
  return new Command("worker")
    .description("look into one worker (operators)")
    .addCommand(named("show", "what it does, uses and may use", showWorker))
    .addCommand(named("log", "the last that it wrote, also after its end", showLog));
}

const pathOf = (id: string) => `/v1/workers/${encodeURIComponent(id)}`;

async function showWorker(
  context: CliContext,
  id: string,
  options: ConnectionOptions,
): Promise<number> {
  const { clock, terminal } = context;
  const gateway = await connect(context, options, "operator");
  const read = () => gateway.get(pathOf(id), wholeWorkerSchema);
  let worker = await read();
  if (isUnrated(worker)) {
    await clock.sleep(SECOND_LOOK_MS);
    worker = await read();
  }
  await terminal.out(
    options.json === true
      ? `${JSON.stringify(worker)}\n`
      : renderFacts(factsOf(worker, clock.now())),
  );
  return EXIT.ok;
}

async function showLog(
  context: CliContext,
  id: string,
  options: ConnectionOptions,
): Promise<number> {
  const gateway = await connect(context, options, "operator");
  const found = await gateway.get(`${pathOf(id)}/log`, workerLogSchema);
  const { terminal } = context;
  if (options.json === true) await terminal.out(`${JSON.stringify(found)}\n`);
  else if (found.log === "") await terminal.err(`${id} has written nothing on ${found.node}\n`);
  else await terminal.out(plainLines(found.log));
  return EXIT.ok;
}

/** One worker as names and values. */
export function factsOf(worker: WholeWorker, now: number): readonly Fact[] {
  const { created_at, host, idle_since, phase, processes, ready_at, step, unanswered } = worker;
  const where = host === null ? "no host yet" : `${host}, driver ${worker.driver}`;
  const way = worker.internet ? "leads out directly" : "leads out by the proxy";
  return [
    ["worker", worker.id],
    ["state", step === null ? phase : `${phase}, ${step}`],
    ["serves", `${servesText(worker)} (${worker.tier})`],
    ["host", where],
    ["image", worker.image === null ? "-" : oneLine(worker.image)],
    ["slots", `${worker.jobs.length} of ${worker.slots} in use`],
    ...worker.jobs.map((job): Fact => ["job", job]),
    ["cpu", cpuText(worker)],
    ["memory", memoryText(worker)],
    ["processes", `${processes ?? "-"}, at most ${worker.processes_limit}`],
    ["workspace", `${worker.workspace}, at most ${humaneBytes(worker.storage_limit_bytes)}`],
    ["network", `${worker.network}, ${way}`],
    ["created", agoText(created_at, now)],
    ["ready", ready_at === null ? "not yet" : agoText(ready_at, now)],
    ["idle since", idle_since === null ? "in use" : agoText(idle_since, now)],
    ["idle left", idleText(worker, now)],
    ...unanswered.map((node): Fact => ["no answer", `from ${node}: what it uses is not known`]),
  ];
}

function agoText(time: string, now: number): string {
  return `${time} (${humaneAgo(Date.parse(time), now)})`;
}
