/** Problems on connections that have no request yet: what came is no HTTP, or no handshake of a WebSocket. */
import type { Duplex } from "node:stream";
import { ulid } from "ulid";
import { BerthError } from "../../protocols/errors.ts";
import { toProblem } from "../problem.ts";

/** Answers with the problem and closes. */
export function writeProblem(socket: Duplex, error: BerthError): void {
  if (!socket.writable) return;
  const id = `req_${ulid()}`;
  const problem = toProblem(error, id);
  const body = JSON.stringify(problem);
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${problem.title}`,
      "Content-Type: application/problem+json; charset=utf-8",
      `Content-Length: ${Buffer.byteLength(body)}`,
      `X-Request-Id: ${id}`,
      "Connection: close",
      "",
      body,
    ].join("\r\n"),
  );
}

/** What Node's parser of requests gave up on. */
export function parserError(cause: Error & { readonly code?: string }): BerthError {
  switch (cause.code) {
    case "HPE_HEADER_OVERFLOW":
      return new BerthError("request.too_large", "the headers are larger than is taken", { cause });
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new BerthError("request.malformed", "the request did not come in time", { cause });
    default:
      return new BerthError("request.malformed", "this is not an HTTP request", { cause });
  }
}
