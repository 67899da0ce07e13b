/** Refusals as HTTP. */
import type { ServerResponse } from "node:http";
import type { Refused } from "./refusals.ts";

const PHRASES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  407: "Proxy Authentication Required",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

function headersOf({ status, reason, sentence }: Refused): Record<string, string> {
  return {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": String(Buffer.byteLength(bodyOf(sentence))),
    "X-Berth-Egress": reason,
    ...(status === 407 ? { "Proxy-Authenticate": 'Basic realm="berth"' } : {}),
    Connection: "close",
  };
}

const bodyOf = (sentence: string) => `berth: ${sentence}\n`;

export function tell(response: ServerResponse, refused: Refused): void {
  response.writeHead(refused.status, PHRASES[refused.status], headersOf(refused));
  response.end(bodyOf(refused.sentence));
}

/** For a connection that was to be a tunnel. */
export function answerOf(refused: Refused): string {
  const headers = Object.entries(headersOf(refused)).map(([name, value]) => `${name}: ${value}`);
  const first = `HTTP/1.1 ${refused.status} ${PHRASES[refused.status] ?? "Refused"}`;
  return [first, ...headers, "", bodyOf(refused.sentence)].join("\r\n");
}
