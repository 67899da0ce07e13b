/** The context of one turn: records on the stage, reads nothing but what it was given. */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { PLATFORM_TENANT, parseId } from "../protocols/ids.ts";
import type { MessageDef, Messages, Protocol, Tool } from "../protocols/protocol.ts";
import type { Context, Peer, PutOptions, ReadContext } from "./actor.ts";
import type { ChildPolicy } from "./children.ts";
import { supervise, unsupervise } from "./family-turn.ts";
import type { Logger } from "./logger.ts";
import type { PendingEffect } from "./record.ts";
import type { Cause, Stage } from "./stage.ts";
import { standingAt } from "./standing.ts";

export interface TurnInput {
  readonly self: ActorRef;
  readonly protocol: Protocol;
  readonly children?: ChildPolicy | undefined;
  readonly exists: boolean;
  readonly from: ActorRef | undefined;
  readonly cause: Cause;
  readonly now: number;
  readonly log: Logger;
}

export function readContext(turn: TurnInput, state: unknown): ReadContext<unknown> {
  return {
    self: turn.self,
    state,
    now: turn.now,
    log: turn.log,
    exists: turn.exists,
  };
}

/** A context that writes to `stage`. Valid during its turn only. */
export function turnContext(turn: TurnInput, stage: Stage): Context<unknown, Messages> {
  const { self, now, cause } = turn;
  const peer = (protocol: Protocol, tenant: string, key: string, by: Cause): Peer<Messages> =>
    peerOf(protocol, { kind: protocol.kind, tenant, key: parseId(key, "key") }, stage, by, now);
  const at = (protocol: Protocol, tenant: string, key: string, by = cause) =>
    peer(protocol, protocol.platform ? PLATFORM_TENANT : tenant, key, by);

  const family = { stage, now, cause, policy: turn.children };
  const context: Context<unknown, Messages> = {
    self,
    now,
    log: turn.log,
    exists: turn.exists,
    from: turn.from,
    traceparent: cause.traceparent,
    get state() {
      return stage.state;
    },
    set state(value) {
      stage.state = value;
    },
    get lastSeq() {
      return stage.lastSeq;
    },
    actor: (protocol: Protocol, key: string) => at(protocol, self.tenant, key),
    in(tenant, traceparent = cause.traceparent) {
      if (self.tenant !== PLATFORM_TENANT && tenant !== self.tenant) {
        throw new BerthError("auth.forbidden", `${self.kind} may not address another tenant`);
      }
      const resumed = { id: cause.id, traceparent };
      return { actor: (protocol: Protocol, key: string) => at(protocol, tenant, key, resumed) };
    },
    get me() {
      return peer(turn.protocol, self.tenant, self.key, cause);
    },
    execute: (tool, input, then = {}) => stage.execute(pendingEffect(tool, input, then, cause)),
    remind(message, payload, when, name) {
      const due = "at" in when ? when.at : now + when.afterMs;
      const def = turn.protocol.messages[message];
      const body = def ? parsedBy(def, payload) : payload;
      stage.remind(parseId(name ?? String(message), "reminder"), message, body, due);
    },
    forget: (name) => stage.forget(name),
    put(bucket, key, value, options: PutOptions = {}) {
      const mode = putMode(value, options);
      stage.add({ op: "put", bucket, key, value: structuredClone(value), mode });
    },
    supervise: (protocol: Protocol, key: string) =>
      supervise(family, childRef(self, protocol, key)),
    unsupervise: (protocol: Protocol, key: string) =>
      unsupervise(family, childRef(self, protocol, key)),
    get children() {
      return stage.family.children.map(({ ref }) => ref);
    },
    park: (code, message, until) => stage.stand({ type: "park", code, message, until }, now),
    unpark: () => stage.stand({ type: "unpark" }, now),
    get parked() {
      return standingAt(stage.standing, now);
    },
    emit: (type, jobId, data, eventAt) => stage.emit(type, jobId, data, eventAt ?? now),
    newId: (prefix) => stage.newId(prefix, now),
    count(name, labels = {}, by = 1) {
      stage.metrics.push({ type: "count", name, labels, value: by });
    },
    observe(name, value, labels = {}) {
      stage.metrics.push({ type: "observe", name, labels, value });
    },
  };
  return context;
}

/** A tenant's actor cannot supervise what all tenants share. */
function childRef(self: ActorRef, protocol: Protocol, key: string): ActorRef {
  const tenant = protocol.platform ? PLATFORM_TENANT : self.tenant;
  if (tenant !== self.tenant) {
    throw new BerthError("auth.forbidden", `${self.kind} may not supervise ${protocol.kind}`);
  }
  return { kind: protocol.kind, tenant, key: parseId(key, "key") };
}

function pendingEffect(
  tool: Tool,
  input: unknown,
  then: { readonly reply?: PropertyKey; readonly failed?: PropertyKey },
  { traceparent }: Cause,
): PendingEffect {
  return {
    tool: tool.name,
    input: tool.input.parse(input),
    ...(then.reply === undefined ? {} : { reply: String(then.reply) }),
    ...(then.failed === undefined ? {} : { failed: String(then.failed) }),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}

function putMode(value: unknown, options: PutOptions): "set" | "create" | "patch" | "remove" {
  if (value === undefined) return "remove";
  if (options.create) return "create";
  return options.patch ? "patch" : "set";
}

/** Peers of one protocol share a prototype: its message functions are made once. */
const peerShapes = new WeakMap<Protocol, Peer<Messages>>();

interface PeerTarget {
  readonly ref: ActorRef;
  readonly stage: Stage;
  readonly cause: Cause;
  readonly now: number;
}

function peerOf(
  protocol: Protocol,
  ref: ActorRef,
  stage: Stage,
  cause: Cause,
  now: number,
): Peer<Messages> {
  let shape = peerShapes.get(protocol);
  if (!shape) {
    shape = peerShape(protocol);
    peerShapes.set(protocol, shape);
  }
  const target: PeerTarget = { ref, stage, cause, now };
  return Object.assign(Object.create(shape) as Peer<Messages>, { target });
}

function peerShape(protocol: Protocol): Peer<Messages> {
  const shape: Record<string, unknown> = {};
  for (const [type, def] of Object.entries(protocol.messages)) {
    if (def.type !== "tell") continue;
    shape[type] = function send(this: { target: PeerTarget }, input: unknown) {
      const { ref, stage, cause, now } = this.target;
      stage.tell(ref, def.lane, type, parsedBy(def, input), cause, now);
    };
  }
  return shape;
}

/** A copy, so that later changes of what it was made from do not reach it. */
function parsedBy(def: MessageDef, input: unknown): unknown {
  const parsed = def.input.safeParse(input);
  if (parsed.success) return parsed.data;
  throw asBerthError(parsed.error);
}
