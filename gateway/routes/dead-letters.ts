/** Dead letters, for operators: listed, shown, replayed and purged, by themselves or by what they have in common. */
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import {
  deadLetterFilterSchema,
  deadLetterListQuerySchema,
  deadLetterPageSchema,
  deadLetterParamsSchema,
  purgedSchema,
  replayedSchema,
  wholeDeadLetterSchema,
} from "../../protocols/api-operators.ts";
import type { ActName } from "../../protocols/audit.ts";
import { BerthError } from "../../protocols/errors.ts";
import { requireRoute } from "../auth/scopes.ts";
import type { Services } from "../services.ts";
import { deadLetterView, wholeDeadLetter } from "../views.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

/** Of an act on all letters that fit a filter the trail tells which filter. */
const ofMany = (act: ActName) => (request: FastifyRequest) => {
  const filter = (request.method === "DELETE" ? request.query : request.body) as object;
  return { act, group: "deadLetters" as const, detail: { ...filter } };
};

export function deadLetterRoutes(app: App, { deadLetters }: Services): void {
  app.get(
    "/v1/dead-letters",
    {
      schema: {
        ...tagged("operators", "listDeadLetters", "List dead letters"),
        querystring: deadLetterListQuerySchema,
        response: { 200: deadLetterPageSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "deadLetters", "read");
      const { letters, next } = await deadLetters.list(request.query);
      return { data: letters.map(deadLetterView), next };
    },
  );

  app.get(
    "/v1/dead-letters/:id",
    {
      config: { audit: { act: "dead-letter.read", group: "deadLetters", action: "read" } },
      schema: {
        ...tagged("operators", "getDeadLetter", "Read a dead letter with its message"),
        params: deadLetterParamsSchema,
        response: { 200: wholeDeadLetterSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "deadLetters", "read");
      const letter = await deadLetters.get(request.params.id);
      if (letter) return wholeDeadLetter(letter);
      throw new BerthError("request.not_found", "there is no such dead letter");
    },
  );

  app.post(
    "/v1/dead-letters/:id/replay",
    {
      config: { audit: { act: "dead-letter.replay", group: "deadLetters" } },
      schema: {
        ...tagged("operators", "replayDeadLetter", "Replay a dead letter"),
        params: deadLetterParamsSchema,
        response: { 204: z.undefined().describe("Sent again"), ...problems },
      },
    },
    async (request, reply) => {
      requireRoute(principalOf(request), "deadLetters", "write");
      await deadLetters.replay(request.params.id);
      return reply.code(204).send();
    },
  );

  app.post(
    "/v1/dead-letters/replay",
    {
      config: { audit: ofMany("dead-letter.replay") },
      schema: {
        ...tagged("operators", "replayDeadLetters", "Replay the dead letters of a filter"),
        body: deadLetterFilterSchema,
        response: { 200: replayedSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "deadLetters", "write");
      const { replayed, failed } = await deadLetters.replayAll(request.body);
      return { replayed, failed: [...failed] };
    },
  );

  app.delete(
    "/v1/dead-letters/:id",
    {
      config: { audit: { act: "dead-letter.purge", group: "deadLetters" } },
      schema: {
        ...tagged("operators", "purgeDeadLetter", "Purge a dead letter"),
        params: deadLetterParamsSchema,
        response: { 204: z.undefined().describe("Gone"), ...problems },
      },
    },
    async (request, reply) => {
      requireRoute(principalOf(request), "deadLetters", "write");
      const purged = await deadLetters.purge({ id: request.params.id });
      if (purged === 0) throw new BerthError("request.not_found", "there is no such dead letter");
      return reply.code(204).send();
    },
  );

  app.delete(
    "/v1/dead-letters",
    {
      config: { audit: ofMany("dead-letter.purge") },
      schema: {
        ...tagged("operators", "purgeDeadLetters", "Purge dead letters"),
        querystring: deadLetterFilterSchema,
        response: { 200: purgedSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "deadLetters", "write");
      return { purged: await deadLetters.purge(request.query) };
    },
  );
}
