/** Workers and queues, for operators. Tenants' admins see their own workers. */
import {
  queuePageSchema,
  workerListQuerySchema,
  workerPageSchema,
} from "../../protocols/api-operators.ts";
import { BerthError } from "../../protocols/errors.ts";
import { workerRecordSchema } from "../../protocols/executor.ts";
import { decideTenant, requireOperator } from "../auth/principal.ts";
import { paginate, readAll } from "../listing.ts";
import { readQueues } from "../queues.ts";
import type { Services } from "../services.ts";
import { workerView } from "../views.ts";
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
}
