import { randomUUID } from "node:crypto";
import { type AcceptedJob, acceptedJobSchema, type CreateJob } from "../../protocols/api.ts";
import type { Gateway } from "./gateway.ts";

/** Submits a job; a lost answer is asked for again under the same idempotency key, so there is one job. */
export function submitJob(gateway: Gateway, job: CreateJob): Promise<AcceptedJob> {
  return gateway.send({
    method: "POST",
    path: "/v1/jobs",
    schema: acceptedJobSchema,
    body: job,
    idempotencyKey: randomUUID(),
  });
}
