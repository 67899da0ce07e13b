/** The only place that knows the codes of nats-server and the error classes of its client. */
import { JetStreamApiError, JetStreamError } from "@nats-io/jetstream";
import { InvalidArgumentError, RequestError, TimeoutError } from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";

const WRONG_LAST_SEQUENCE = 10071;
/** A clustered leader refuses while another proposal on the subject is in flight: try again. */
const SEQUENCE_IN_FLIGHT = 10164;
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

/** Any error of the NATS client as ours. What is not recognised means that the outcome is not known. */
export function fromNats(thrown: unknown): BerthError {
  if (thrown instanceof BerthError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const options = { cause: thrown };
  if (isTooLarge(thrown)) return new BerthError("actor.state_too_large", message, options);
  switch (apiCode(thrown)) {
    case WRONG_LAST_SEQUENCE:
      return new BerthError("record.conflict", message, options);
    case SUBJECT_FULL:
      return new BerthError("actor.mailbox_full", "The actor's mailbox is full", options);
    case MESSAGE_TOO_LARGE:
      return new BerthError("actor.state_too_large", message, options);
    case SEQUENCE_IN_FLIGHT:
      return new BerthError("broker.unavailable", message, options);
    default:
      return new BerthError("broker.unavailable", message, options);
  }
}

/** The error of a core request: nobody listening is `actor.moved`, no answer in time is `ask.timeout`. */
export function fromRequest(thrown: unknown): BerthError {
  const options = { cause: thrown };
  if (thrown instanceof RequestError && thrown.isNoResponders()) {
    return new BerthError("actor.moved", "No node serves the actor at this moment", options);
  }
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  if (thrown instanceof TimeoutError || cause instanceof TimeoutError) {
    return new BerthError("ask.timeout", "No answer came before the deadline", options);
  }
  return fromNats(thrown);
}
