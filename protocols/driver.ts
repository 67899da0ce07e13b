/**
 * The wire to a driver host: request-reply on `berth.driver.<node>.<verb>` (msgpack). Each verb takes and
 * gives what the supervisor's tool of the same purpose does, so that a tool is one request. And what a
 * worker says of itself: `berth.hello.<worker>` until answered, then `berth.beat.<worker>`.
 */
import { z } from "zod";
import { removeWorkspace, startWorker, stopWorker, verifyWorkers } from "./actors/supervisor.ts";
import { brokerCredentialSchema, workerSpecSchema } from "./executor.ts";
import { tool, wireErrorSchema } from "./protocol.ts";

/** The workers that live on a host, with what the driver knows of each. */
export const listWorkers = tool(
  "worker.list",
  {},
  {
    driver: z.string(),
    workers: z.array(z.object({ worker: z.string(), spec: workerSpecSchema })),
  },
);

export const DRIVER_VERBS = {
  start: startWorker,
  stop: stopWorker,
  list: listWorkers,
  verify: verifyWorkers,
  "remove-workspace": removeWorkspace,
} as const;
export type DriverVerb = keyof typeof DRIVER_VERBS;

export type DriverInput<V extends DriverVerb> = z.output<(typeof DRIVER_VERBS)[V]["input"]>;
export type DriverOutput<V extends DriverVerb> = z.output<(typeof DRIVER_VERBS)[V]["output"]>;

/** `start` waits for the worker's hello and `stop` for its end: a request must wait at least this long. */
export const DRIVER_TIMEOUT_MS: Readonly<Record<DriverVerb, number>> = {
  start: 60_000,
  stop: 30_000,
  list: 5_000,
  verify: 5_000,
  "remove-workspace": 60_000,
};

export const driverReplySchema = z.union([
  z.object({ ok: z.literal(true), output: z.record(z.string(), z.unknown()) }),
  z.object({ ok: z.literal(false), error: wireErrorSchema }),
]);
export type DriverReply = z.infer<typeof driverReplySchema>;

/**
 * What a host answers to a hello or a beat; after `worker.not_found` the worker ends itself. A credential is for its next
 * connection: its own expires, or is of a key that goes.
 */
export const contactReplySchema = z.union([
  z.object({ ok: z.literal(true), credential: brokerCredentialSchema.optional() }),
  z.object({ ok: z.literal(false), error: wireErrorSchema }),
]);
export type ContactReply = z.infer<typeof contactReplySchema>;
