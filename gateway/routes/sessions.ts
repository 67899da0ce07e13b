import type { FastifyRequest } from "fastify";
import { ulid } from "ulid";
import { z } from "zod";
import {
  createSessionSchema,
  scopedQuerySchema,
  sessionListQuerySchema,
  sessionPageSchema,
  sessionParamsSchema,
  sessionSchema,
} from "../../protocols/api.ts";
import { onOthers } from "../audit-trail.ts";
import type { Services } from "../services.ts";
import type { Sessions } from "../sessions.ts";
import { sessionView } from "../views.ts";
import { type App, callerOf, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

export function sessionRoutes(app: App, services: Services, sessions: Sessions): void {
  const ownerOf = async (request: FastifyRequest) => {
    const { id } = sessionParamsSchema.parse(request.params);
    return (await sessions.find(principalOf(request), id, undefined, "write")).tenant;
  };

  app.post(
    "/v1/sessions",
    {
      schema: {
        ...tagged("sessions", "createSession", "Create a session"),
        body: createSessionSchema,
        response: { 201: sessionSchema, ...problems },
      },
    },
    async (request, reply) => {
      const caller = await callerOf(services, principalOf(request));
      const id = `ses_${request.reservation?.seed ?? ulid()}`;
      const session = await sessions.create(caller, request.body, id);
      return reply.code(201).header("location", `/v1/sessions/${id}`).send(sessionView(session));
    },
  );

  app.get(
    "/v1/sessions",
    {
      schema: {
        ...tagged("sessions", "listSessions", "List sessions, newest first"),
        querystring: sessionListQuerySchema,
        response: { 200: sessionPageSchema, ...problems },
      },
    },
    (request) => sessions.list(principalOf(request), request.query),
  );

  app.get(
    "/v1/sessions/:id",
    {
      schema: {
        ...tagged("sessions", "getSession", "Get a session"),
        params: sessionParamsSchema,
        querystring: scopedQuerySchema,
        response: { 200: sessionSchema, ...problems },
      },
    },
    async (request) => {
      const { params, query } = request;
      return sessionView(await sessions.find(principalOf(request), params.id, query.tenant));
    },
  );

  app.delete(
    "/v1/sessions/:id",
    {
      config: { audit: onOthers({ act: "session.delete", group: "sessions" }, ownerOf) },
      schema: {
        ...tagged(
          "sessions",
          "deleteSession",
          "Delete a session: what runs is cancelled, no job may follow",
        ),
        params: sessionParamsSchema,
        querystring: scopedQuerySchema,
        response: { 204: z.undefined().describe("Deleted"), ...problems },
      },
    },
    async (request, reply) => {
      const { params, query } = request;
      await sessions.remove(principalOf(request), params.id, query.tenant);
      return reply.code(204).send();
    },
  );
}
