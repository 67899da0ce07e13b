/** Queues, for operators: what waits, by tier. */
import { queuePageSchema } from "../../protocols/api-operators.ts";
import { requireRoute } from "../auth/scopes.ts";
import { readQueues } from "../queues.ts";
import type { Services } from "../services.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

export function queueRoutes(app: App, services: Services): void {
  app.get(
    "/v1/queues",
    {
      schema: {
        ...tagged("operators", "listQueues", "Read queues by tier"),
        response: { 200: queuePageSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "queues", "read");
      return await readQueues(services);
    },
  );
}
