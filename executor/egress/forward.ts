/**
 * Passes one plain request on over a connection that is there, and its answer back. Both are written anew: what a reader
 * and a writer would understand differently does not pass.
 *
 * Invariant:
 * F1 Nothing of a request's body is written where the far host reads a head: the body goes on with the end that it came with.
 */
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { tell } from "./answers.ts";
import { decideFraming } from "./decide-framing.ts";
import { refusal } from "./refusals.ts";

/** Of one connection, not of what is sent over it. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
]);
/** Of the message itself, whatever `Connection` says: without its length a body would be read as requests (F1). */
const OF_MESSAGE = new Set(["content-length", "host"]);

export type PassedHeaders = Record<string, string | string[]>;
type HeaderValues = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Without those that end here, and those that `Connection` names and may name. */
function passedHeaders(headers: HeaderValues): PassedHeaders {
  const connection = headers["connection"];
  const named = new Set(
    String(connection ?? "")
      .toLowerCase()
      .split(/\s*,\s*/),
  );
  const ends = (name: string) => HOP_BY_HOP.has(name) || (named.has(name) && !OF_MESSAGE.has(name));
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined || ends(name)
        ? []
        : [[name, typeof value === "string" ? value : [...value]]],
    ),
  );
}

export interface Forwarding {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly far: Socket;
  readonly path: string;
  readonly host: string;
  /** Of the request's headers; default: none. */
  readonly change?: (headers: PassedHeaders) => PassedHeaders;
}

/** Never rejects: what breaks on one side is broken on the other. */
export async function forward(forwarding: Forwarding): Promise<void> {
  const { request, response, far, path, host, change = (same) => same } = forwarding;
  const framing = decideFraming(request.headers);
  if (framing === undefined) {
    far.destroy();
    tell(response, refusal("malformed"));
    return;
  }
  const headers = {
    ...change(passedHeaders(request.headers)),
    ...framing, // F1
    host,
    connection: "close",
  };
  try {
    // Throws for what no header may hold.
    const onward = httpRequest({
      createConnection: () => far,
      method: request.method,
      path,
      headers,
      setHost: false,
    });
    // A host may answer before it has read all: a break of the request ends the wait for it.
    pipeline(request, onward).catch(() => {});
    const answer = await answerTo(onward);
    const answered = { ...passedHeaders(answer.headers), connection: "close" };
    response.writeHead(answer.statusCode ?? 502, answered);
    await pipeline(answer, response);
  } catch {
    far.destroy();
    if (response.headersSent) response.destroy();
    else response.writeHead(502, { Connection: "close" }).end();
  }
}

function answerTo(onward: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    onward.once("response", resolve);
    onward.once("error", reject);
    onward.once("close", () => reject(new Error("closed without an answer")));
  });
}
