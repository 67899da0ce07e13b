/**
 * The one table of errors. A code is stable for ever: clients branch on it, `docs/errors.md` lists it
 * (a test compares the two), and the gateway takes its HTTP status from here.
 */

/** `never`: the same call fails again. `later`: the same call may succeed after a pause. `elsewhere`: ask again at once, the owner moved. */
export type Retry = "never" | "later" | "elsewhere";

interface ErrorRow {
  readonly status: number;
  readonly retry: Retry;
  readonly title: string;
}

const row = (status: number, retry: Retry, title: string): ErrorRow => ({ status, retry, title });

export const ERROR_TABLE = {
  "request.malformed": row(400, "never", "The request could not be read"),
  "request.invalid": row(422, "never", "A field of the request is not valid"),
  "request.too_large": row(413, "never", "The request is larger than the limit"),
  "request.unsupported_media_type": row(415, "never", "The content type is not supported"),
  "request.not_found": row(404, "never", "There is no such route or resource"),
  "request.method_not_allowed": row(405, "never", "The route does not take this method"),
  "request.upgrade_required": row(426, "never", "The route is a WebSocket"),
  "request.rate_limited": row(429, "later", "Too many requests"),
  "idempotency.in_flight": row(
    409,
    "later",
    "A request with this idempotency key is still running",
  ),
  "idempotency.mismatch": row(422, "never", "The idempotency key was used with another request"),
  "auth.missing": row(401, "never", "No credential was given"),
  "auth.invalid": row(401, "never", "The credential is not valid"),
  "auth.expired": row(401, "never", "The credential has expired"),
  "auth.forbidden": row(403, "never", "The credential does not allow this"),
  "auth.unavailable": row(503, "later", "The credential cannot be checked now"),
  "audit.unavailable": row(503, "later", "The audit trail cannot be written now"),
  "id.invalid": row(
    422,
    "never",
    "An identifier holds characters or a length that are not allowed",
  ),
  "tenant.not_found": row(404, "never", "There is no such tenant"),
  "tenant.suspended": row(423, "never", "The tenant is suspended"),
  "session.not_found": row(404, "never", "There is no such session"),
  "session.expired": row(410, "never", "The session is past its resume window"),
  "session.deleted": row(410, "never", "The session was deleted"),
  "session.agent_mismatch": row(422, "never", "The session belongs to another agent"),
  "session.slow_reader": row(503, "later", "The reader was too slow and was cut"),
  "job.not_found": row(404, "never", "There is no such job"),
  "job.finished": row(409, "never", "The job has already finished"),
  "job.not_running": row(409, "later", "The job is not running"),
  "job.input_refused": row(409, "never", "The job's agent takes no input"),
  "job.superseded": row(409, "never", "The attempt is not the job's current one"),
  "job.timed_out": row(504, "never", "The job passed its time limit"),
  "job.out_of_memory": row(507, "never", "The job used more memory than its worker has"),
  "job.executor_lost": row(503, "later", "The executor was lost while the job ran"),
  "quota.hourly": row(429, "later", "The hourly job limit is used up"),
  "quota.queue_full": row(429, "later", "The user's queue is full"),
  "quota.model": row(403, "never", "The tier does not allow this model"),
  "agent.unknown": row(422, "never", "There is no such agent"),
  "agent.unavailable": row(
    503,
    "never",
    "The agent's command line tool is not installed on the worker",
  ),
  "agent.credential_missing": row(422, "never", "The agent needs an API key that was not stored"),
  "agent.failed": row(500, "never", "The agent ended with an error"),
  "credential.not_found": row(404, "never", "No such credential is stored"),
  "credential.too_many": row(409, "never", "The user holds as many credentials as are allowed"),
  "credential.unreadable": row(
    500,
    "never",
    "A stored credential cannot be opened with the keys that are here",
  ),
  "vault.unavailable": row(503, "later", "No node that holds the vault's keys answers"),
  "worker.outdated": row(503, "never", "The worker runs a build that cannot be given credentials"),
  "worker.not_found": row(404, "never", "There is no such worker"),
  "worker.start_failed": row(503, "later", "The worker could not be started"),
  "worker.lost": row(503, "later", "The worker died"),
  "worker.out_of_memory": row(503, "later", "The worker ran out of memory"),
  "worker.busy": row(409, "later", "The worker has no free slot"),
  "capacity.exhausted": row(503, "later", "The deployment has no capacity for another worker"),
  "actor.doubtful": row(500, "never", "It cannot be told whether the message was handled before"),
  "actor.unknown_kind": row(404, "never", "No node serves this kind of actor"),
  "actor.unknown_message": row(422, "never", "The actor's protocol has no such message"),
  "actor.mailbox_full": row(429, "later", "The actor's mailbox is full"),
  "actor.moved": row(503, "elsewhere", "The actor lives on another node now"),
  "actor.parked": row(503, "later", "The actor is parked until its cause is gone"),
  "actor.children_failed": row(500, "never", "The actor's children failed too often"),
  "actor.stopped": row(503, "later", "The actor was stopped by its supervision strategy"),
  "actor.failed": row(500, "never", "The actor's handler failed"),
  "actor.overloaded": row(503, "later", "The node holds too many asks for this actor"),
  "actor.state_too_large": row(507, "never", "The actor's record is larger than the broker takes"),
  "actor.state_unreadable": row(500, "never", "The actor's record does not fit its schema"),
  "ask.timeout": row(504, "later", "No answer came before the deadline"),
  "record.conflict": row(409, "elsewhere", "Another writer committed first"),
  "lease.lost": row(503, "elsewhere", "The node's lease has lapsed"),
  "node.draining": row(503, "elsewhere", "The node is draining"),
  "node.outdated": row(503, "later", "The node runs a version that does not know the message yet"),
  "gateway.unavailable": row(503, "later", "The gateway does not answer"),
  "broker.unavailable": row(503, "later", "The broker does not answer"),
  "broker.not_found": row(500, "never", "No nats-server of version 2.12 or newer could be found"),
  "driver.failed": row(503, "later", "The driver's back end failed"),
  "driver.unavailable": row(503, "later", "No node offers this driver"),
  "backup.invalid": row(500, "never", "The backup is damaged, incomplete, or of another format"),
  "backup.not_empty": row(500, "never", "The broker holds data of Berth already"),
  "backup.not_quiet": row(503, "later", "What is stored did not keep still for the backup"),
  "backup.unwritable": row(500, "never", "The backup cannot be written or read here"),
  "setup.in_use": row(500, "never", "Another Berth runs on this data directory"),
  "setup.port_taken": row(500, "never", "A port that was asked for is taken"),
  "config.invalid": row(500, "never", "The configuration is not valid"),
  "internal.unexpected": row(500, "later", "Something failed that should not"),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERROR_TABLE;

/** What an error looks like on a wire: between nodes, in events, in dead letters. Holds no secret and no stack. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field?: string;
  readonly retryAfterMs?: number;
}

interface BerthErrorOptions {
  readonly field?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** Every failure that crosses one of our borders. `message` is for a person; branch on `code`. */
export class BerthError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message?: string, options: BerthErrorOptions = {}) {
    super(message ?? ERROR_TABLE[code].title, { cause: options.cause });
    this.name = "BerthError";
    this.code = code;
    this.field = options.field;
    this.retryAfterMs = options.retryAfterMs;
  }

  get status(): number {
    return ERROR_TABLE[this.code].status;
  }

  get retry(): Retry {
    return ERROR_TABLE[this.code].retry;
  }

  toWire(): WireError {
    return {
      code: this.code,
      message: this.message,
      ...(this.field === undefined ? {} : { field: this.field }),
      ...(this.retryAfterMs === undefined ? {} : { retryAfterMs: this.retryAfterMs }),
    };
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(ERROR_TABLE, value);
}

/** Rebuilds an error that another process sent; a code this build does not know becomes `internal.unexpected`. */
export function errorFromWire(wire: WireError): BerthError {
  const code = isErrorCode(wire.code) ? wire.code : "internal.unexpected";
  return new BerthError(code, wire.message, {
    field: wire.field,
    retryAfterMs: wire.retryAfterMs,
  });
}

/** Any thrown value as a `BerthError`; what is foreign becomes `internal.unexpected` with its cause kept. */
export function asBerthError(thrown: unknown, code: ErrorCode = "internal.unexpected"): BerthError {
  if (thrown instanceof BerthError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new BerthError(code, message, { cause: thrown });
}
