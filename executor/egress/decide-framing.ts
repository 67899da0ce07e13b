/** Where a request's body ends. Pure. */
import type { IncomingHttpHeaders } from "node:http";

/** The headers that say it: none where there is no body. */
export type Framing = Readonly<Record<string, string>>;

/** As the request said it, or undefined where two readers could find two ends. */
export function decideFraming(headers: IncomingHttpHeaders): Framing | undefined {
  const { "content-length": length, "transfer-encoding": coding } = headers;
  if (coding === undefined) return length === undefined ? {} : { "content-length": length };
  if (length !== undefined || coding.trim().toLowerCase() !== "chunked") return undefined;
  return { "transfer-encoding": "chunked" };
}
