/** A worker's identity as one line of JSON on its standard input: written by what starts the worker, read by the worker. */
import { BerthError } from "../protocols/errors.ts";
import type { WorkerIdentity } from "../protocols/executor.ts";

/** Read by hand: a worker's start does not wait for the schema's library. */
const FIELDS: Readonly<Record<keyof WorkerIdentity, "string" | "number">> = {
  worker: "string",
  nats_url: "string",
  partitions: "number",
  slots: "number",
  tier: "string",
  workspace_mode: "string",
};

export function formatIdentity(identity: WorkerIdentity): string {
  return `${JSON.stringify(identity)}\n`;
}

/** Throws `config.invalid`, naming the field and never its value: the credential is among them. */
export function parseIdentity(line: string): WorkerIdentity {
  const value = tryParse(line);
  for (const [name, kind] of Object.entries(FIELDS)) {
    if (typeof value[name] === kind) continue;
    throw new BerthError("config.invalid", `the worker's identity needs ${name}, a ${kind}`, {
      field: name,
    });
  }
  return value as unknown as WorkerIdentity;
}

function tryParse(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
