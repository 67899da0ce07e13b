/**
 * A node as a NATS micro service, so that the stock `nats` command line reaches it: `nats micro ls`, `nats micro stats
 * berth-node`, and the requests of `subjects.node`. Answers are JSON; docs/operations.md shows each.
 */
import { type Service, type ServiceMsg, Svcm } from "@nats-io/services";
import type { NatsConnection } from "@nats-io/transport-node";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import { parseRefName } from "../../protocols/ids.ts";
import { activationQuerySchema } from "../../protocols/inspection.ts";
import { subjects } from "../../protocols/subjects.ts";
import type { RunningNode } from "../node.ts";
import type { Records } from "../transport.ts";

export interface NodeServiceParts {
  readonly connection: NatsConnection;
  readonly node: RunningNode;
  readonly version: string;
  readonly records: Pick<Records, "load">;
  /** Of a node that has workers. */
  readonly host?: WorkerHost;
}

/** The node's workers, as far as people ask for them. */
export interface WorkerHost {
  census(): Promise<object>;
  /** Rejects with `worker.not_found`. */
  log(worker: string): Promise<string>;
}

export interface NodeService {
  stop(): Promise<void>;
}

/** What the micro service specification takes as a version. */
const PLAIN_VERSION = /^\d+\.\d+\.\d+/;

/** Answers the text of a request; what it throws is answered as an error. */
type Verb = (text: string) => object | Promise<object>;

/** Serves the verbs of this node alone, with JSON answers. */
export async function startNodeService(parts: NodeServiceParts): Promise<NodeService> {
  const { connection, node, records, version, host } = parts;
  const service = await new Svcm(connection as never).add({
    name: "berth-node",
    version: PLAIN_VERSION.exec(version)?.[0] ?? "0.0.0",
    description: "A node of Berth",
    metadata: { node: node.id, version },
    // Beside the requests and errors of each verb, what the node itself has done.
    statsHandler: () => Promise.resolve(node.census()),
  });
  const all = { ...verbs(node), record: recordVerb(records), ...(host ? hostVerbs(host) : {}) };
  for (const [name, verb] of Object.entries(all)) serve(service, node.id, name, verb);
  return {
    async stop() {
      if (!connection.isClosed()) await service.stop();
    },
  };
}

function verbs(node: RunningNode): Record<string, Verb> {
  return {
    /** Hands every partition over; the node stays up and serves nothing. */
    drain: async () => {
      await node.drain();
      return { drained: true };
    },
    /** Actors in memory; the request may hold an `ActivationQuery` as JSON. */
    actors: (text) => node.listActors(activationQuerySchema.parse(text === "" ? {} : json(text))),
    /** One actor in memory, asked for as `tenant/kind/key`. */
    actor: (text) => {
      const active = node.findActor(parseRefName(text.trim()));
      if (active) return active;
      throw new BerthError("request.not_found", "the actor is not in this node's memory");
    },
    /** Sends a dead letter's message again, asked for by the letter's id. */
    replay: async (text) => {
      const id = text.trim();
      await node.deadLetters.replay(id);
      return { replayed: id };
    },
    stats: () => ({
      id: node.id,
      ready: node.isReady(),
      ...node.census(),
      nodes: node.nodes(),
    }),
  };
}

/** Gateways may not read records themselves: `storedRecordSchema`. */
function recordVerb(records: Pick<Records, "load">): Verb {
  return async (text) => {
    const ref = parseRefName(text.trim());
    for (const journaled of [false, true]) {
      const found = await records.load(ref, journaled);
      if (!found) continue;
      const data = Buffer.from(found.data).toString("base64");
      return { revision: found.revision, journaled, data };
    }
    return { revision: null, journaled: null, data: null };
  };
}

function hostVerbs(host: WorkerHost): Record<string, Verb> {
  return {
    /** What its workers use, and where those that start are: `HostWorkers`. */
    workers: () => host.census(),
    /** The last that a worker wrote, also one that has ended; asked for by its id. */
    "worker-log": async (text) => ({ log: await host.log(text.trim()) }),
  };
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BerthError("request.malformed", "not JSON", { cause });
  }
}

function serve(service: Service, node: string, name: string, verb: Verb): void {
  const handle = async (request: ServiceMsg) => {
    try {
      request.respond(JSON.stringify(await verb(request.string())));
    } catch (thrown) {
      const error = asBerthError(thrown, "request.invalid");
      request.respondError(error.status, error.message, JSON.stringify(error.toWire()));
    }
  };
  service.addEndpoint(name, {
    subject: subjects.node(node, name),
    handler: (failed, request) => {
      if (!failed) void handle(request);
    },
  });
}
