/**
 * The supervisor's tools: requests to the nodes that host drivers.
 *
 * 1. Of a worker whose node has no lease nothing is known: it outlives its node. It is asked itself, and is neither lost
 *    nor stopped for want of an answer.
 * 2. A live node that does not answer says nothing: its workers are neither lost nor stopped.
 * 3. A request ends with the run of the node that it was sent to.
 */
import {
  chooseHost,
  removeWorkspace,
  startWorker,
  stopWorker,
  verifyWorkers,
} from "../../protocols/actors/supervisor.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { NodeRecord } from "../../protocols/records.ts";
import type { ToolImplementation, Tools } from "../../runtime/tools.ts";
import { decideHost } from "./decide-host.ts";
import { requestDriver } from "./driver-request.ts";
import { endWorker, readStatus } from "./executor-word.ts";
import type { ToolOptions } from "./tool-options.ts";

export function supervisorTools(options: ToolOptions): Tools {
  return {
    [chooseHost.name]: choose(options),
    [startWorker.name]: start(options),
    [stopWorker.name]: stop(options),
    [verifyWorkers.name]: verify(options),
    [removeWorkspace.name]: removeSpace(options),
  };
}

function choose({ hosts }: ToolOptions): ToolImplementation {
  return async (given) => {
    const { spec, home } = chooseHost.input.parse(given);
    const host = decideHost(spec, home, hosts());
    if (!host) throw new BerthError("driver.unavailable");
    return { host: host.id };
  };
}

function start(options: ToolOptions): ToolImplementation {
  return async (given) => {
    const { spec, host: id } = startWorker.input.parse(given);
    const host =
      id === undefined
        ? decideHost(spec, null, options.hosts())
        : options.hosts().find((node) => node.id === id);
    if (!host) throw new BerthError("driver.unavailable", `node ${id ?? ""} is not there`);
    return requestDriver(options, host, "start", { spec, host: host.id });
  };
}

function stop(options: ToolOptions): ToolImplementation {
  return async (given) => {
    const input = stopWorker.input.parse(given);
    const isAsked = await onHosts(options, input.host, (node) =>
      requestDriver(options, node, "stop", input),
    );
    if (isAsked) return {};
    await endWorker(options, input.worker, input.reason);
    return { away: true }; // 1
  };
}

/** What a node without a lease keeps is removed by its own comparison, when it is back. */
function removeSpace(options: ToolOptions): ToolImplementation {
  return async (given) => {
    const input = removeWorkspace.input.parse(given);
    await onHosts(options, input.host, (node) =>
      requestDriver(options, node, "remove-workspace", input),
    );
    return {};
  };
}

/** On the one host, or on all when nobody knows which. False if the one host has no lease. */
async function onHosts(
  { hosts }: ToolOptions,
  host: string | null,
  request: (node: NodeRecord) => Promise<unknown>,
): Promise<boolean> {
  const asked = hosts().filter((node) => host === null || node.id === host);
  const results = await Promise.allSettled(asked.map(request));
  for (const result of results) {
    if (result.status === "rejected") throw asBerthError(result.reason);
  }
  return host === null || asked.length > 0;
}

type Held = readonly { readonly worker: string; readonly host: string | null }[];

function verify(options: ToolOptions): ToolImplementation {
  return async (given) => {
    const { workers } = verifyWorkers.input.parse(given);
    const hosts = options.hosts();
    const isHosted = (host: string | null) => hosts.some((node) => node.id === host);
    const byHost = hosts.map((node) => ({
      node,
      held: workers.filter(({ host }) => host === node.id),
    }));
    const [told, alone] = await Promise.all([
      Promise.all(byHost.map(({ node, held }) => askHost(options, node, held))),
      askWorkers(
        options,
        workers.filter(({ host }) => !isHosted(host)),
      ),
    ]);
    return {
      lost: told.flatMap(({ lost }) => lost),
      away: alone.away,
      cpu_ms: Object.assign({}, alone.cpu_ms, ...told.map(({ cpu_ms }) => cpu_ms)),
    };
  };
}

interface HostWord {
  readonly lost: readonly string[];
  readonly cpu_ms: Readonly<Record<string, number>>;
}

async function askHost(options: ToolOptions, node: NodeRecord, held: Held): Promise<HostWord> {
  if (held.length === 0) return { lost: [], cpu_ms: {} };
  try {
    return await requestDriver(options, node, "verify", { workers: [...held] });
  } catch (thrown) {
    options.logger.warn({ err: asBerthError(thrown) }, "a driver host did not answer"); // 2
    return { lost: [], cpu_ms: {} };
  }
}

/** 1. */
async function askWorkers(options: ToolOptions, held: Held) {
  const answers = await Promise.all(
    held.map(async ({ worker }) => ({ worker, status: await readStatus(options, worker) })),
  );
  return {
    away: answers.flatMap(({ worker, status }) => (status ? [] : [worker])),
    cpu_ms: Object.fromEntries(
      answers.flatMap(({ worker, status }) => (status ? [[worker, status.cpu_ms]] : [])),
    ),
  };
}
