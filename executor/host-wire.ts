/** What a driver host reads of requests and of workers' own words, and what it answers. */
import { pack, unpack } from "msgpackr";
import {
  type ContactReply,
  DRIVER_VERBS,
  type DriverInput,
  type DriverVerb,
} from "../protocols/driver.ts";
import { BerthError } from "../protocols/errors.ts";
import type { WorkerStatus } from "../protocols/executor.ts";
import type { Incoming } from "../runtime/transport.ts";

/** Throws `request.malformed`. */
export function readInput<V extends DriverVerb>(verb: V, data: Uint8Array): DriverInput<V> {
  const parsed = DRIVER_VERBS[verb].input.safeParse(tryUnpack(data));
  if (parsed.success) return parsed.data as DriverInput<V>;
  throw new BerthError("request.malformed", `The input of ${verb} is not valid`, {
    cause: parsed.error,
  });
}

/** What a hello or a beat says. One that cannot be read is still a sign of life. */
export interface WorkerWord {
  readonly cpuMs: number;
  readonly credential: WorkerStatus["credential"];
}

export function readWord(data: Uint8Array): WorkerWord {
  const status = tryUnpack(data) as Partial<WorkerStatus> | undefined;
  const { issuer, expires_at } = status?.credential ?? {};
  const isWhole = typeof issuer === "string" && typeof expires_at === "number";
  return {
    cpuMs: typeof status?.cpu_ms === "number" ? status.cpu_ms : 0,
    credential: isWhole ? { issuer, expires_at } : undefined,
  };
}

export function answer(request: Incoming, reply: ContactReply): void {
  request.reply(pack(reply));
}

function tryUnpack(data: Uint8Array): unknown {
  try {
    return unpack(data) as unknown;
  } catch {
    return undefined;
  }
}
