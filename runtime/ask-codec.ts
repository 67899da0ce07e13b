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

export function decodeAsk(data: Uint8Array): AskRequest {
  const parsed = askRequestSchema.safeParse(unpack(data));
  if (!parsed.success) throw new BerthError("request.malformed", "not an ask");
  return parsed.data as AskRequest;
}

export const encodeReply = (reply: AskReply): Uint8Array => pack(reply);

export function decodeReply(data: Uint8Array): AskReply {
  const parsed = askReplySchema.safeParse(unpack(data));
  if (!parsed.success) throw new BerthError("request.malformed", "not an answer");
  return parsed.data as AskReply;
}
