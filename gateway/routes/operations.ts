/** Workers, queues and dead letters, for operators. Tenants' admins see their own workers. */
import { z } from "zod";
import { pageQuerySchema } from "../../protocols/api.ts";
import {
  deadLetterPageSchema,
  deadLetterParamsSchema,
  purgedSchema,
  queuePageSchema,
  wholeDeadLetterSchema,
  workerListQuerySchema,
  workerPageSchema,
} from "../../protocols/api-operators.ts";
import { BerthError } from "../../protocols/errors.ts";
import { workerRecordSchema } from "../../protocols/executor.ts";
import { tenantIdSchema } from "../../protocols/ids.ts";
import { decideTenant, requireOperator } from "../auth/principal.ts";
import { paginate, readAll } from "../listing.ts";
import { readQueues } from "../queues.ts";
import type { Services } from "../services.ts";
import { deadLetterView, wholeDeadLetter, workerView } from "../views.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

export function operationRoutes(app: App, services: Services): void {
  const { buckets } = services.transport;

  app.get(
    "/v1/workers",
    {
      schema: {
        ...tagged("operators", "listWorkers", "List workers"),
        querystring: workerListQuerySchema,
        response: { 200: workerPageSchema, ...problems },
      },
    },
    async (request) => {
      const principal = principalOf(request);
      const { tenant: named, ...page } = request.query;
      if (principal.scope === "user") throw new BerthError("auth.forbidden");
      const tenant = decideTenant(principal, named);
      const all = await readAll(buckets, "workers", workerRecordSchema);
      const seen = all
        .map(({ value }) => value)
        .filter(({ spec }) => (tenant ?? spec.tenant) === spec.tenant);
      const { data, next } = paginate(seen, page);
      return { data: data.map(workerView), next };
    },
  );

  app.get(
    "/v1/queues",
    {
      schema: {
        ...tagged("operators", "listQueues", "Read queues by tier"),
        response: { 200: queuePageSchema, ...problems },
      },
    },
    async (request) => {
      requireOperator(principalOf(request));
      return await readQueues(services);
    },
  );

  deadLetterRoutes(app, services);
}

const lettersQuerySchema = pageQuerySchema.extend({ tenant: tenantIdSchema.optional() });
const purgeQuerySchema = z.strictObject({ tenant: tenantIdSchema.optional() });

function deadLetterRoutes(app: App, { deadLetters }: Services): void {
  app.get(
    "/v1/dead-letters",
    {
      schema: {
        ...tagged("operators", "listDeadLetters", "List dead letters"),
        querystring: lettersQuerySchema,
        response: { 200: deadLetterPageSchema, ...problems },
      },
    },
    async (request) => {
      requireOperator(principalOf(request));
      const { tenant, after, limit } = request.query;
      const { letters, next } = await deadLetters.list({
        limit,
        ...(tenant === undefined ? {} : { tenant }),
        ...(after === undefined ? {} : { after }),
      });
      return { data: letters.map(deadLetterView), next };
    },
  );

  app.get(
    "/v1/dead-letters/:id",
    {
      schema: {
        ...tagged("operators", "getDeadLetter", "Read a dead letter with its message"),
        params: deadLetterParamsSchema,
        response: { 200: wholeDeadLetterSchema, ...problems },
      },
    },
    async (request) => {
      requireOperator(principalOf(request));
      const letter = await deadLetters.get(request.params.id);
      if (letter) return wholeDeadLetter(letter);
      throw new BerthError("request.not_found", "there is no such dead letter");
    },
  );

  app.post(
    "/v1/dead-letters/:id/replay",
    {
      schema: {
        ...tagged("operators", "replayDeadLetter", "Replay a dead letter"),
        params: deadLetterParamsSchema,
        response: { 204: z.undefined().describe("Sent again"), ...problems },
      },
    },
    async (request, reply) => {
      requireOperator(principalOf(request));
      await deadLetters.replay(request.params.id);
      return reply.code(204).send();
    },
  );

  app.delete(
    "/v1/dead-letters/:id",
    {
      schema: {
        ...tagged("operators", "purgeDeadLetter", "Purge a dead letter"),
        params: deadLetterParamsSchema,
        response: { 204: z.undefined().describe("Gone"), ...problems },
      },
    },
    async (request, reply) => {
      requireOperator(principalOf(request));
      const purged = await deadLetters.purge({ id: request.params.id });
      if (purged === 0) throw new BerthError("request.not_found", "there is no such dead letter");
      return reply.code(204).send();
    },
  );

  app.delete(
    "/v1/dead-letters",
    {
      schema: {
        ...tagged("operators", "purgeDeadLetters", "Purge dead letters"),
        querystring: purgeQuerySchema,
        response: { 200: purgedSchema, ...problems },
      },
    },
    async (request) => {
      requireOperator(principalOf(request));
      const { tenant } = request.query;
      return { purged: await deadLetters.purge(tenant === undefined ? {} : { tenant }) };
    },
  );
}
