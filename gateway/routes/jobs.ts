import type { FastifyReply, FastifyRequest } from "fastify";
import { ulid } from "ulid";
import { z } from "zod";
import { User } from "../../protocols/actors/user.ts";
import {
  acceptedJobSchema,
  cancelledJobSchema,
  createJobSchema,
  jobInputSchema,
  jobListQuerySchema,
  jobPageSchema,
  jobParamsSchema,
  jobSchema,
  jobWaitSchema,
  scopedQuerySchema,
} from "../../protocols/api.ts";
import { BerthError } from "../../protocols/errors.ts";
import { onOthers } from "../audit-trail.ts";
import type { Jobs } from "../jobs.ts";
import { rateHeaders } from "../rate-headers.ts";
import type { Services } from "../services.ts";
import type { Caller } from "../submission.ts";
import { Waits } from "../waits.ts";
import { type App, callerOf, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

/** The ids that a request makes; the same ones when it is repeated under its idempotency key. */
function idsOf(request: FastifyRequest) {
  const seed = request.reservation?.seed ?? ulid();
  return { job: `job_${seed}`, session: `ses_${seed}` };
}

export function jobRoutes(app: App, services: Services, jobs: Jobs): void {
  const waits = new Waits(services, jobs);
  const ownerOf = async (request: FastifyRequest) => {
    const { id } = jobParamsSchema.parse(request.params);
    return (await jobs.record(principalOf(request), id)).tenant;
  };

  app.post(
    "/v1/jobs",
    {
      schema: {
        ...tagged("jobs", "submitJob", "Submit a job"),
        body: createJobSchema,
        response: { 202: acceptedJobSchema, ...problems },
      },
    },
    async (request, reply) => {
      const caller = await callerOf(services, principalOf(request));
      try {
        const { job, limits } = await jobs.submit(caller, request.body, idsOf(request));
        return await reply
          .headers({ ...rateHeaders(limits), location: `/v1/jobs/${job.id}` })
          .code(202)
          .send(job);
      } catch (thrown) {
        await addRateHeaders(services, caller, reply, thrown);
        throw thrown;
      }
    },
  );

  app.get(
    "/v1/jobs",
    {
      schema: {
        ...tagged("jobs", "listJobs", "List jobs, newest first"),
        querystring: jobListQuerySchema,
        response: { 200: jobPageSchema, ...problems },
      },
    },
    (request) => jobs.list(principalOf(request), request.query),
  );

  app.get(
    "/v1/jobs/:id",
    {
      schema: {
        ...tagged("jobs", "getJob", "Get a job"),
        params: jobParamsSchema,
        querystring: scopedQuerySchema,
        response: { 200: jobSchema, ...problems },
      },
    },
    (request) => jobs.find(principalOf(request), request.params.id, request.query.tenant),
  );

  app.get(
    "/v1/jobs/:id/wait",
    {
      schema: {
        ...tagged("jobs", "getJobWait", "Read what a job that does not run yet waits for"),
        params: jobParamsSchema,
        querystring: scopedQuerySchema,
        response: { 200: jobWaitSchema, ...problems },
      },
    },
    (request) => waits.find(principalOf(request), request.params.id, request.query.tenant),
  );

  app.post(
    "/v1/jobs/:id/cancel",
    {
      config: { audit: onOthers({ act: "job.cancel", group: "jobs" }, ownerOf) },
      schema: {
        ...tagged("jobs", "cancelJob", "Cancel a job; its events tell when it is gone"),
        params: jobParamsSchema,
        querystring: scopedQuerySchema,
        response: { 202: cancelledJobSchema, ...problems },
      },
    },
    async (request, reply) => {
      const { params, query } = request;
      const job = await jobs.cancel(principalOf(request), params.id, query.tenant);
      const { id, session_id, state } = job;
      return reply.code(202).send({ id, session_id, state });
    },
  );

  app.post(
    "/v1/jobs/:id/input",
    {
      config: { audit: onOthers({ act: "job.input", group: "jobs" }, ownerOf) },
      schema: {
        ...tagged("jobs", "sendInput", "Send text to the standard input of a running job's agent"),
        params: jobParamsSchema,
        querystring: scopedQuerySchema,
        body: jobInputSchema,
        response: { 204: z.undefined().describe("The agent has it"), ...problems },
      },
    },
    async (request, reply) => {
      const { params, body, query } = request;
      await jobs.input(principalOf(request), params.id, body.text, query.tenant);
      return reply.code(204).send();
    },
  );
}

/** A refusal for quota says what remains, too. */
async function addRateHeaders(
  { client, tuning }: Services,
  { principal, tier }: Caller,
  reply: FastifyReply,
  thrown: unknown,
): Promise<void> {
  if (!(thrown instanceof BerthError) || thrown.status !== 429) return;
  const user = client.actor(User, principal.tenant, principal.user);
  const seen = await user
    .limits({ tier }, { timeoutMs: tuning.askTimeoutMs })
    .catch(() => undefined);
  if (seen) reply.headers(rateHeaders(seen.limits));
}
