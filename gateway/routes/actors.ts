/** Actors, for operators: which are in memory and on what they wait, what one has stored, and orders to it. */
import type { FastifyRequest } from "fastify";
import {
  activationPageSchema,
  actorListQuerySchema,
  actorOrderParamsSchema,
  actorOrderSchema,
  actorParamsSchema,
  actorQuerySchema,
  actorSchema,
  orderedActorSchema,
} from "../../protocols/api-operators.ts";
import { type SystemOrder, sendSystem } from "../../runtime/system-mail.ts";
import { listActors, showActor } from "../actors.ts";
import { requireRoute } from "../auth/scopes.ts";
import type { Services } from "../services.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

/** What the runtime knows of an actor is no secret; what the actor keeps may be. */
function readsState({ query }: FastifyRequest) {
  if ((query as { state?: string }).state !== "true") return undefined;
  return { act: "actor.read-state", group: "actors", action: "read" } as const;
}

export function actorRoutes(app: App, services: Services): void {
  app.get(
    "/v1/actors",
    {
      schema: {
        ...tagged("operators", "listActors", "List actors in memory and what each waits on"),
        querystring: actorListQuerySchema,
        response: { 200: activationPageSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "actors", "read");
      return await listActors(services, request.query);
    },
  );

  app.get(
    "/v1/actors/:tenant/:kind/:key",
    {
      config: { audit: readsState },
      schema: {
        ...tagged("operators", "getActor", "Read an actor: in memory, and as stored"),
        params: actorParamsSchema,
        querystring: actorQuerySchema,
        response: { 200: actorSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "actors", "read");
      return await showActor(services, request.params, { state: request.query.state === "true" });
    },
  );

  app.post(
    "/v1/actors/:tenant/:kind/:key/:order",
    {
      config: { audit: { act: "actor.order", group: "actors" } },
      schema: {
        ...tagged("operators", "orderActor", "Restart, stop, park or unpark an actor"),
        params: actorOrderParamsSchema,
        body: actorOrderSchema,
        response: { 202: orderedActorSchema, ...problems },
      },
    },
    async (request, reply) => {
      requireRoute(principalOf(request), "actors", "write");
      const { order, ...ref } = request.params;
      // An order for an actor that never was would make one.
      await showActor(services, ref, { state: false });
      const { clock, transport } = services;
      await sendSystem({ clock, transport }, ref, systemOrder(order, request.body, clock.now()));
      return reply.code(202).send({ ...ref, ordered: order });
    },
  );
}

const OPERATOR = "operator";

function systemOrder(
  order: "restart" | "unpark" | "park" | "stop",
  body:
    | { readonly reason?: string | undefined; readonly for_ms?: number | undefined }
    | null
    | undefined,
  now: number,
): SystemOrder {
  if (order === "restart" || order === "unpark") return { type: `$${order}` };
  const { for_ms, reason = "ordered by an operator" } = body ?? {};
  const end = for_ms === undefined ? {} : { until: now + for_ms };
  return { type: `$${order}`, code: OPERATOR, message: reason, ...end };
}
