/** An agent's secret variables, as a node seals them for one attempt in this worker. */
import { BerthError } from "../protocols/errors.ts";
import type { JobOrder } from "../protocols/executor.ts";
import { sealedEnvBinding } from "../protocols/order-binding.ts";
import { type LetterKey, openLetter } from "../runtime/sealing/letter.ts";

export type Secrets = Readonly<Record<string, string>> | undefined;

/** Undefined when the order holds none. Throws `credential.unreadable` for a letter to another worker, attempt or incarnation. */
export function openEnvironment(
  key: LetterKey,
  worker: string,
  { sealed_env, job_id, attempt }: JobOrder,
): Secrets {
  if (sealed_env === undefined) return undefined;
  const content = openLetter(key, sealed_env, sealedEnvBinding(worker, { job_id, attempt }));
  const variables = content && tryParse(content);
  content?.fill(0);
  if (variables !== undefined) return variables;
  throw new BerthError(
    "credential.unreadable",
    "The order's credentials are not sealed for this attempt of this worker",
  );
}

function tryParse(content: Buffer): Secrets {
  try {
    const value: unknown = JSON.parse(content.toString("utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const entries = Object.entries(value);
    return entries.every(([, text]) => typeof text === "string")
      ? Object.fromEntries(entries)
      : undefined;
  } catch {
    return undefined;
  }
}
