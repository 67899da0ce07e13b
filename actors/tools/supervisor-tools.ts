/**
 * The supervisor's tools: requests to the nodes that host drivers.
 *
 * 1. What a node without a lease hosted is gone: its workers end when they cannot reach it.
 * 2. A live node that does not answer says nothing: its workers are neither lost nor stopped.
 */
import {
  removeWorkspace,
  startWorker,
  stopWorker,
  verifyWorkers,
} from "../../protocols/actors/supervisor.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { ToolImplementation, Tools } from "../../runtime/tools.ts";
import { decideHost } from "./decide-host.ts";
import { requestDriver } from "./driver-request.ts";
import type { ToolOptions } from "./tool-options.ts";

export function supervisorTools(options: ToolOptions): Tools {
  return {
    [startWorker.name]: start(options),
    [stopWorker.name]: stop(options),
    [verifyWorkers.name]: verify(options),
    [removeWorkspace.name]: removeSpace(options),
  };
}

function start(options: ToolOptions): ToolImplementation {
  return async (given) => {
    const { spec } = startWorker.input.parse(given);
    const host = decideHost(spec, options.hosts());
    if (!host) throw new BerthError("driver.unavailable");
    return requestDriver(options, host.id, "start", { spec });
  };
}

function stop(options: ToolOptions): ToolImplementation {
  return async (given) => {
    const input = stopWorker.input.parse(given);
    await onHosts(options, input.host, (node) => requestDriver(options, node, "stop", input));
    return {};
  };
}

function removeSpace(options: ToolOptions): ToolImplementation {
  return async (given) => {
    const input = removeWorkspace.input.parse(given);
    await onHosts(options, input.host, (node) =>
      requestDriver(options, node, "remove-workspace", input),
    );
    return {};
  };
}

/** On the one host, or on all when nobody knows which; a host that is not live has nothing left to do (1). */
async function onHosts(
  { hosts }: ToolOptions,
  host: string | null,
  request: (node: string) => Promise<unknown>,
): Promise<void> {
  const nodes = hosts().map((node) => node.id);
  const asked = host === null ? nodes : nodes.filter((node) => node === host);
  const results = await Promise.allSettled(asked.map(request));
  for (const result of results) {
    if (result.status === "rejected") throw asBerthError(result.reason);
  }
}

function verify(options: ToolOptions): ToolImplementation {
  return async (given) => {
    const { workers } = verifyWorkers.input.parse(given);
    const live = new Set(options.hosts().map((node) => node.id));
    const lost: string[] = [];
    const byHost = new Map<string, typeof workers>();
    for (const entry of workers) {
      if (entry.host === null || !live.has(entry.host)) lost.push(entry.worker);
      else byHost.set(entry.host, [...(byHost.get(entry.host) ?? []), entry]);
    }
    const cpu_ms: Record<string, number> = {};
    const ask = async ([host, held]: [string, typeof workers]) => {
      const output = await requestDriver(options, host, "verify", { workers: held });
      lost.push(...output.lost);
      Object.assign(cpu_ms, output.cpu_ms);
    };
    const results = await Promise.allSettled([...byHost].map(ask));
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      options.logger.warn({ err: asBerthError(result.reason) }, "a driver host did not answer"); // 2
    }
    return { lost, cpu_ms };
  };
}
