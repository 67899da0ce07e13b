/** Nodes, for operators: which live, and letting one hand its work over. */
import { z } from "zod";
import { pageQuerySchema } from "../../protocols/api.ts";
import {
  drainedNodeSchema,
  nodePageSchema,
  nodeParamsSchema,
} from "../../protocols/api-operators.ts";
import { asBerthError, BerthError, errorFromWire, isErrorCode } from "../../protocols/errors.ts";
import { nodeRecordSchema, partitionRecordSchema } from "../../protocols/records.ts";
import { subjects } from "../../protocols/subjects.ts";
import { requireRoute } from "../auth/scopes.ts";
import { paginate, parseValue, readAll } from "../listing.ts";
import type { Services } from "../services.ts";
import { nodeView } from "../views.ts";
import { type App, principalOf } from "./app.ts";
import { problems, tagged } from "./openapi.ts";

/** A node waits for its running turns before it lets go. */
const DRAIN_MS = 60_000;

export function nodeRoutes(app: App, services: Services): void {
  const { buckets } = services.transport;

  app.get(
    "/v1/nodes",
    {
      schema: {
        ...tagged("operators", "listNodes", "List nodes"),
        querystring: pageQuerySchema,
        response: { 200: nodePageSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "nodes", "read");
      const nodes = await readAll(buckets, "nodes", nodeRecordSchema);
      const partitions = await readAll(buckets, "partitions", partitionRecordSchema);
      const { data, next } = paginate(
        nodes.map(({ value }) => value),
        request.query,
      );
      const owned = (id: string) => partitions.filter(({ value }) => value.node === id).length;
      return { data: data.map((node) => nodeView(node, owned(node.id))), next };
    },
  );

  app.post(
    "/v1/nodes/:id/drain",
    {
      config: { audit: { act: "node.drain", group: "nodes" } },
      schema: {
        ...tagged("operators", "drainNode", "Let a node hand its partitions over and take no more"),
        params: nodeParamsSchema,
        response: { 200: drainedNodeSchema, ...problems },
      },
    },
    async (request) => {
      requireRoute(principalOf(request), "nodes", "write");
      const { id } = request.params;
      await drainNode(services, id);
      return { id, drained: true as const };
    },
  );
}

const drainAnswerSchema = z.union([
  z.object({ drained: z.literal(true) }),
  z.object({ code: z.string(), message: z.string() }),
]);

/** Resolves when the node holds no partition any more. */
async function drainNode({ transport }: Services, id: string): Promise<void> {
  if ((await transport.buckets.get("nodes", id)) === undefined) {
    throw new BerthError("request.not_found", "there is no such node");
  }
  const subject = subjects.node(id, "drain");
  const data = await transport.bus
    .request(subject, new Uint8Array(), DRAIN_MS)
    .catch((thrown: unknown) => {
      const error = asBerthError(thrown);
      if (error.code !== "actor.moved") throw error;
      throw new BerthError("request.not_found", "the node does not answer: it is gone");
    });
  const answer = parseValue(drainAnswerSchema, data);
  if (answer && "drained" in answer) return;
  if (answer && isErrorCode(answer.code)) throw errorFromWire({ ...answer, code: answer.code });
  throw new BerthError("internal.unexpected", "the node gave an answer that cannot be read");
}
