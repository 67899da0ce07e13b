/** What the secrets of an order are sealed in with. A file of its own: workers load no schemas. */
import type { JobOrder } from "./executor.ts";

/** An order cannot be given to another worker, or another attempt, and still be opened. */
export function sealedEnvBinding(
  worker: string,
  { job_id, attempt }: Pick<JobOrder, "job_id" | "attempt">,
): readonly (string | number)[] {
  return ["berth.order.env", worker, job_id, attempt];
}
