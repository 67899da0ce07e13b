/** Asks and their answers on the wire: msgpack, for only our own processes read them. */
import { Packr } from "msgpackr";
import {
  type AskReply,
  type AskRequest,
  askReplySchema,
  askRequestSchema,
} from "../protocols/envelope.ts";
import { BerthError } from "../protocols/errors.ts";

/** No shared structures: each message is complete, so any build can read any other's. */
const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false });

export function pack(value: unknown): Uint8Array {
  return packr.pack(value);
}

/** Throws `request.malformed` when the bytes are not msgpack. */
export function unpack(data: Uint8Array): unknown {
  try {
    return packr.unpack(data);
  } catch (thrown) {
    throw new BerthError("request.malformed", "not msgpack", { cause: thrown });
  }
}

/** Most asks are plain: the schema is asked only about those that carry more. */
function isPlainAsk(value: unknown): value is AskRequest {
  if (typeof value !== "object" || value === null) return false;
  const ask = value as Record<string, unknown>;
  return (
    typeof ask["id"] === "string" &&
    typeof ask["type"] === "string" &&
    typeof ask["deadline"] === "number" &&
    ask["from"] === undefined &&
    ask["after"] === undefined &&
    (ask["traceparent"] === undefined || typeof ask["traceparent"] === "string") &&
    (ask["by"] === undefined || isSentBy(ask["by"]))
  );
}

const isSentBy = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length === 4 &&
  typeof value[0] === "string" &&
  value.slice(1).every((part) => Number.isSafeInteger(part));

export function decodeAsk(data: Uint8Array): AskRequest {
  const value = unpack(data);
  if (isPlainAsk(value)) return value;
  const parsed = askRequestSchema.safeParse(value);
  if (!parsed.success) throw new BerthError("request.malformed", "not an ask");
  return parsed.data;
}

export const encodeReply = (reply: AskReply): Uint8Array => pack(reply);

function isPlainReply(value: unknown): value is AskReply & { ok: true } {
  return typeof value === "object" && value !== null && "ok" in value && value.ok === true;
}

export function decodeReply(data: Uint8Array): AskReply {
  const value = unpack(data);
  if (isPlainReply(value)) return value;
  const parsed = askReplySchema.safeParse(value);
  if (!parsed.success) throw new BerthError("request.malformed", "not an answer");
  return parsed.data;
}
