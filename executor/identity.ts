/**
 * A worker's identity as one line of JSON, on its standard input or in a file: written by what starts the worker, read by
 * the worker, once.
 */
import { readFileSync, rmSync } from "node:fs";
import type { Readable } from "node:stream";
import { BerthError } from "../protocols/errors.ts";
import type { WorkerIdentity, WorkerSpec } from "../protocols/executor.ts";
import type { WorkerConnection } from "./drivers/driver.ts";

/** As BERTH_IDENTITY: who the worker is comes on standard input, where no other process of the same user can read it later. */
export const ON_STANDARD_INPUT = "stdin";

/** The line that a worker prints when it has loaded all that it needs and can be paused until it is told who it is. */
export const WAITS_FOR_IDENTITY = "berth executor waits for its identity";

/** Far more than an identity needs. */
const MAX_UNITS = 64 * 1024;

/** Read by hand: a worker's start does not wait for the schema's library. */
const FIELDS: Readonly<
  Record<
    Exclude<keyof WorkerIdentity, "credential" | "nats_tls" | "proxy_url">,
    "string" | "number"
  >
> = {
  worker: "string",
  nats_url: "string",
  partitions: "number",
  slots: "number",
  tier: "string",
  workspace_mode: "string",
};

export function identityOf(spec: WorkerSpec, connection: WorkerConnection): WorkerIdentity {
  return {
    worker: spec.worker,
    nats_url: connection.natsUrl,
    ...(connection.credential ? { credential: connection.credential } : {}),
    ...(connection.tls ? { nats_tls: connection.tls } : {}),
    partitions: connection.partitions,
    slots: spec.slots,
    tier: spec.tier,
    workspace_mode: spec.workspace,
  };
}

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
  if (value["credential"] !== undefined && !isCredential(value["credential"])) {
    throw new BerthError("config.invalid", "the worker's credential needs a token and a seed", {
      field: "credential",
    });
  }
  return value as unknown as WorkerIdentity;
}

/** Waits without a limit: a worker may be paused for hours before somebody needs it. Rejects when the input ends first. */
export async function readIdentity(source: Readable, signal: AbortSignal): Promise<WorkerIdentity> {
  return parseIdentity(await firstLine(source, signal));
}

/**
 * Out of a file, which is gone before any job could look for it. Throws `config.invalid`, and whatever keeps the file from
 * being read or removed.
 */
export function takeIdentity(path: string): WorkerIdentity {
  const text = readFileSync(path, "utf8");
  rmSync(path);
  return parseIdentity(text.split("\n")[0] ?? "");
}

/** Leaves what follows the line unread. */
function firstLine(source: Readable, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const settle = (act: () => void) => {
      source.off("data", take).pause();
      signal.removeEventListener("abort", stop);
      act();
    };
    const refuse = (what: string) => () =>
      settle(() => reject(new BerthError("config.invalid", `standard input ${what}`)));
    const stop = refuse("is not needed any more: the process was asked to end");
    const take = (piece: string) => {
      text += piece;
      const end = text.indexOf("\n");
      if (end >= 0) settle(() => resolve(text.slice(0, end)));
      else if (text.length > MAX_UNITS) refuse("has no line that could be an identity")();
    };
    source.setEncoding("utf8").on("data", take);
    source.once("end", refuse("ended before the worker's identity had come"));
    source.on("error", refuse("cannot be read"));
    signal.addEventListener("abort", stop, { once: true });
  });
}

function isCredential(value: unknown): boolean {
  const { jwt, seed } = (value ?? {}) as Record<string, unknown>;
  return typeof jwt === "string" && typeof seed === "string";
}

function tryParse(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
