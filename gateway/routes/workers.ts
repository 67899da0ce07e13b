/** Workers, for operators: what they do and use, and what they wrote. Tenants' admins see those of their own tenant. */
import {
  wholeWorkerSchema,
  workerListQuerySchema,
  workerLogSchema,
  workerPageSchema,
  workerParamsSchema,
} from "../../protocols/api-operators.ts";
import { recordAct } from "../audit-trail.ts";
import type { Services } from "../services.ts";
import { Workers } from "../workers.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

export function workerRoutes(app: App, services: Services): void {
  const workers = new Workers(services);

  app.get(
    "/v1/workers",
    {
      schema: {
        ...tagged("operators", "listWorkers", "List workers with what they use now"),
        querystring: workerListQuerySchema,
        response: { 200: workerPageSchema, ...problems },
      },
    },
    (request) => workers.list(principalOf(request), request.query),
  );

  app.get(
    "/v1/workers/:id",
    {
      schema: {
        ...tagged("operators", "getWorker", "Get a worker with what it uses now"),
        params: workerParamsSchema,
        response: { 200: wholeWorkerSchema, ...problems },
      },
    },
    (request) => workers.find(principalOf(request), request.params.id),
  );

  app.get(
    "/v1/workers/:id/log",
    {
      schema: {
        ...tagged("operators", "getWorkerLog", "Read the last that a worker wrote"),
        params: workerParamsSchema,
        response: { 200: workerLogSchema, ...problems },
      },
    },
    (request) =>
      workers.log(principalOf(request), request.params.id, (tenant) =>
        recordAct(services, request, {
          ...{ act: "worker.read-log", group: "workerLogs", action: "read" },
          tenant,
        }),
      ),
  );
}
