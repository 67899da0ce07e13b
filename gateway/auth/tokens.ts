/** Where a request carries its credential. Never the URL: those end up in logs and histories. Pure. */
import type { IncomingHttpHeaders } from "node:http";
import { BerthError } from "../../protocols/errors.ts";
import { BEARER_PROTOCOL_PREFIX } from "../../protocols/frames.ts";

const MAX_TOKEN_CHARS = 8_192;

/** The token of an HTTP request; undefined when it has none. Throws `auth.invalid` for a header that is malformed. */
export function tokenOf(headers: IncomingHttpHeaders): string | undefined {
  const { authorization } = headers;
  if (authorization !== undefined) return bearerOf(authorization);
  const key = headers["x-api-key"];
  return typeof key === "string" && key !== "" ? bounded(key) : undefined;
}

/** As `tokenOf`, and from the subprotocols that a browser's WebSocket offers. */
export function streamTokenOf(headers: IncomingHttpHeaders): string | undefined {
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  const bearer = offered.find((name) => name.startsWith(BEARER_PROTOCOL_PREFIX));
  return tokenOf(headers) ?? (bearer && bounded(bearer.slice(BEARER_PROTOCOL_PREFIX.length)));
}

function bearerOf(header: string): string {
  const [, token] = /^Bearer ([^\s]+)$/i.exec(header) ?? [];
  if (token) return bounded(token);
  throw new BerthError("auth.invalid", 'the Authorization header is not "Bearer <token>"');
}

function bounded(token: string): string {
  if (token.length <= MAX_TOKEN_CHARS) return token;
  throw new BerthError("auth.invalid", "the credential is too long");
}
