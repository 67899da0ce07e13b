/** The only place that knows the codes of nats-server and the error classes of its client. */
import { JetStreamApiError, JetStreamError } from "@nats-io/jetstream";
import {
  InvalidArgumentError,
  PermissionViolationError,
  RequestError,
} from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";

const WRONG_LAST_SEQUENCE = 10071;
const SUBJECT_FULL = 10077;
const MESSAGE_TOO_LARGE = 10054;
const NO_MESSAGE = 10037;
const NO_SEQUENCE = 10043;
const STREAM_NOT_FOUND = 10059;
const CONSUMER_NOT_FOUND = 10014;
const NOT_FOUND = new Set([NO_MESSAGE, NO_SEQUENCE, STREAM_NOT_FOUND, CONSUMER_NOT_FOUND]);

function apiCode(thrown: unknown): number | undefined {
  return thrown instanceof JetStreamApiError ? thrown.code : undefined;
}

const STATUS_NOT_FOUND = 404;

export function isNotFound(thrown: unknown): boolean {
  // A direct batch that starts behind the last message ends with a bare status.
  if (thrown instanceof JetStreamError && "code" in thrown && thrown.code === STATUS_NOT_FOUND) {
    return true;
  }
  const code = apiCode(thrown);
  return code !== undefined && NOT_FOUND.has(code);
}

/** The client refuses what is larger than the server takes before it is sent; it has no code for that. */
function isTooLarge(thrown: unknown): boolean {
  const cause = thrown instanceof RequestError ? thrown.cause : thrown;
  return cause instanceof InvalidArgumentError && cause.message.includes("max_payload");
}

/** The broker does not let us publish or subscribe there: our credential does not say so. */
function isRefused(thrown: unknown): boolean {
  const cause = thrown instanceof RequestError ? thrown.cause : thrown;
  return cause instanceof PermissionViolationError;
}

/** A refusal of the JetStream API by its code. */
export function fromApiCode(code: number | undefined, message: string, cause: unknown): BerthError {
  switch (code) {
    case WRONG_LAST_SEQUENCE:
      return new BerthError("record.conflict", message, { cause });
    case SUBJECT_FULL:
      return new BerthError("actor.mailbox_full", "The actor's mailbox is full", { cause });
    case MESSAGE_TOO_LARGE:
      return new BerthError("actor.state_too_large", message, { cause });
    default:
      // Also 10164: a clustered leader refuses while another proposal on the subject is in flight.
      return new BerthError("broker.unavailable", message, { cause });
  }
}

/** Any error of the NATS client as ours. What is not recognised means that the outcome is not known. */
export function fromNats(thrown: unknown): BerthError {
  if (thrown instanceof BerthError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (isRefused(thrown)) return new BerthError("auth.forbidden", message, { cause: thrown });
  if (isTooLarge(thrown))
    return new BerthError("actor.state_too_large", message, { cause: thrown });
  return fromApiCode(apiCode(thrown), message, thrown);
}
