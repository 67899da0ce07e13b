/** A worker as tests of drivers want one, each under an id of its own. */
import type { WorkerSpec } from "../../protocols/executor.ts";

const MIB = 1024 ** 2;
let count = 0;

export function workerSpec(overrides: Partial<WorkerSpec> = {}): WorkerSpec {
  return {
    worker: `wrk-${process.pid}-${++count}`,
    tenant: "acme",
    tier: "free",
    slots: 1,
    workspace: "job",
    workspace_key: "pool",
    cpus: 0.5,
    memory_bytes: 256 * MIB,
    storage_bytes: 64 * MIB,
    processes: 128,
    network: "shared",
    internet: false,
    ...overrides,
  };
}
