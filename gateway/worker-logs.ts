/** Logs of workers, also of ended ones: kept by the host on which each ran. */
import { z } from "zod";
import type { WorkerLog } from "../protocols/api-operators.ts";
import { asBerthError, BerthError, errorFromWire, isErrorCode } from "../protocols/errors.ts";
import { subjects } from "../protocols/subjects.ts";
import { parseValue } from "./listing.ts";
import type { Services } from "./services.ts";

/** How long a host may take to read a log. */
const LOG_MS = 5_000;
const encoder = new TextEncoder();

const answerSchema = z.union([
  z.object({ log: z.string() }),
  z.object({ code: z.string(), message: z.string() }),
]);

interface KeptLog {
  readonly node: string;
  readonly log: string;
}
type LogAnswer = KeptLog | { readonly error: BerthError };

/** Asks the host that is on record, and all others only when that one does not have it. */
export async function readLog(
  services: Services,
  id: string,
  host: string | undefined,
): Promise<WorkerLog> {
  const own = host === undefined ? [] : [await askLog(services, host, id)];
  const [first] = own;
  if (first && "log" in first) return { id, ...first };
  const others = (await services.hosts.hosts()).filter((node) => node !== host);
  const answers = await Promise.all(others.map((node) => askLog(services, node, id)));
  return { id, ...decideLog([...own, ...answers]) };
}

async function askLog(
  { logger, transport }: Services,
  node: string,
  id: string,
): Promise<LogAnswer> {
  const subject = subjects.node(node, "worker-log");
  try {
    const data = await transport.bus.request(subject, encoder.encode(id), LOG_MS);
    const answer = parseValue(answerSchema, data);
    if (answer && "log" in answer) return { node, log: answer.log };
    const code = answer && isErrorCode(answer.code) ? answer.code : "internal.unexpected";
    return {
      error: errorFromWire({ code, message: answer?.message ?? `${node} is not readable` }),
    };
  } catch (thrown) {
    logger.info({ err: asBerthError(thrown), node }, "a host did not show a log");
    const error = new BerthError("ask.timeout", `${node} does not answer; it may have the log`);
    return { error };
  }
}

/**
 * The log that holds most: a start may have been tried on several hosts. Without one, throws what kept a host that may
 * have it from showing it, or `worker.not_found` when all know nothing. Pure.
 */
export function decideLog(answers: readonly LogAnswer[]): KeptLog {
  const logs = answers.flatMap((answer) => ("log" in answer ? [answer] : []));
  const longest = logs.toSorted((a, b) => b.log.length - a.log.length)[0];
  if (longest) return longest;
  const errors = answers.flatMap((answer) => ("error" in answer ? [answer.error] : []));
  throw (
    errors.find(({ code }) => code !== "worker.not_found") ??
    new BerthError("worker.not_found", "no host knows of such a worker")
  );
}
