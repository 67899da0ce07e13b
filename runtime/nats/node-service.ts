/** A node as a NATS micro service, so that `nats req '$SRV.PING.berth-node'` and the requests of `subjects.node` reach it. */
import { type Service, type ServiceMsg, Svcm } from "@nats-io/services";
import type { NatsConnection } from "@nats-io/transport-node";
import { asBerthError } from "../../protocols/errors.ts";
import { subjects } from "../../protocols/subjects.ts";
import type { RunningNode } from "../node.ts";

export interface NodeServiceParts {
  readonly connection: NatsConnection;
  readonly node: RunningNode;
  readonly version: string;
}

export interface NodeService {
  stop(): Promise<void>;
}

/** Activations that `actors` answers with at most. */
const MAX_ACTORS = 100;
/** What the micro service specification takes as a version. */
const PLAIN_VERSION = /^\d+\.\d+\.\d+/;

/** Serves `drain`, `actors` and `stats` of this node alone, with JSON answers. */
export async function startNodeService(parts: NodeServiceParts): Promise<NodeService> {
  const { connection, node, version } = parts;
  const service = await new Svcm(connection as never).add({
    name: "berth-node",
    version: PLAIN_VERSION.exec(version)?.[0] ?? "0.0.0",
    description: "A node of Berth",
    metadata: { node: node.id, version },
  });
  serve(service, node, "drain", async () => {
    await node.drain();
    return { drained: true };
  });
  serve(service, node, "actors", () => ({ actors: node.actors(MAX_ACTORS) }));
  serve(service, node, "stats", () => ({
    id: node.id,
    ready: node.isReady(),
    partitions: node.partitions(),
    nodes: node.nodes(),
  }));
  return {
    async stop() {
      if (!connection.isClosed()) await service.stop();
    },
  };
}

function serve(
  service: Service,
  node: RunningNode,
  verb: string,
  answer: () => object | Promise<object>,
): void {
  const handle = async (request: ServiceMsg) => {
    try {
      request.respond(JSON.stringify(await answer()));
    } catch (thrown) {
      const error = asBerthError(thrown);
      request.respondError(error.status, error.message, JSON.stringify(error.toWire()));
    }
  };
  service.addEndpoint(verb, {
    subject: subjects.node(node.id, verb),
    handler: (failed, request) => {
      if (!failed) void handle(request);
    },
  });
}
