/**
 * Requests that nodes send to a worker, read by hand: the schema's library would be half of the worker's start-up
 * time, and what is behind the schema's types is sent by our own nodes alone.
 */
import { unpack } from "msgpackr";
import { BerthError } from "../protocols/errors.ts";
import type { DownRequest } from "../protocols/executor.ts";

type Kind = "string" | "number" | "object";

const FIELDS: Readonly<Record<DownRequest["type"], Readonly<Record<string, Kind>>>> = {
  run: { order: "object" },
  cancel: { job_id: "string", attempt: "number", by: "string" },
  input: { job_id: "string", attempt: "number", text: "string" },
  status: {},
  stop: { reason: "string" },
};
const ORDER_FIELDS: Readonly<Record<string, Kind>> = {
  job_id: "string",
  attempt: "number",
  tenant: "string",
  user: "string",
  session_id: "string",
  agent: "string",
  prompt: "string",
  env: "object",
};

/** Throws `request.malformed`. */
export function parseDownRequest(data: Uint8Array): DownRequest {
  const request: unknown = tryUnpack(data);
  if (
    !isObject(request) ||
    typeof request["type"] !== "string" ||
    !Object.hasOwn(FIELDS, request["type"])
  ) {
    throw new BerthError("request.malformed", "A worker takes run, cancel, input, status and stop");
  }
  check(request, FIELDS[request["type"] as DownRequest["type"]]);
  if (isObject(request["order"])) {
    const { order } = request;
    check(order, ORDER_FIELDS);
    if (order["sealed_env"] !== undefined) check(order, { sealed_env: "string" });
  }
  return request as DownRequest;
}

function tryUnpack(data: Uint8Array): unknown {
  try {
    return unpack(data) as unknown;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function check(value: Record<string, unknown>, fields: Readonly<Record<string, Kind>>): void {
  for (const [name, kind] of Object.entries(fields)) {
    if (typeof value[name] !== kind || value[name] === null) {
      throw new BerthError("request.malformed", `${name} must be a ${kind}`, { field: name });
    }
  }
}
