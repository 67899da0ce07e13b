/** Bytes on the socket that are HTTP, nearly HTTP, or nothing of the kind. */
import { once } from "node:events";
import { connect } from "node:net";
import * as fc from "fast-check";
import { problemSchema } from "../../protocols/api.ts";
import { parse } from "./answers.ts";
import type { Stage } from "./stage.ts";

const CLOSES_WITHIN_MS = 5_000;

const LINES = [
  "GET /v1/me HTTP/1.1",
  "POST /v1/jobs HTTP/1.1",
  "GET /v1/stream HTTP/1.1",
  "GET http://other.example/v1/me HTTP/1.1",
  "OPTIONS * HTTP/1.1",
  "CONNECT 127.0.0.1:22 HTTP/1.1",
  "TRACE / HTTP/1.1",
  "PRI * HTTP/2.0",
  "GET /v1/jobs/%2e%2e%2f%2e%2e HTTP/1.1",
  "GET //v1//me HTTP/1.1",
  "GET /v1/me HTTP/9.9",
  "GET",
  "BREW /v1/me HTTP/1.1",
] as const;

const FIELDS = [
  "Host: x",
  "Content-Length: 5",
  "Content-Length: 0",
  "Content-Length: -1",
  "Content-Length: 99999999999999999999",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding : chunked",
  "Expect: 100-continue",
  "Connection: upgrade",
  "Connection: close",
  "Upgrade: websocket",
  "Upgrade: h2c",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Key: x",
  "Content-Type: application/json",
  "Accept: text/event-stream",
  "X-Folded: a\r\n b",
  "X-Null: \u0000",
  "\u00ff: x",
  ": x",
  `X-Long: ${"x".repeat(20_000)}`,
] as const;

const BODIES = [
  "",
  "hello",
  "{}",
  "5\r\nhello\r\n0\r\n\r\n",
  "ffffffffffffffff\r\nx",
  "0\r\n\r\nGET /v1/me HTTP/1.1\r\n\r\n",
];

export interface Bytes {
  readonly data: Buffer;
  readonly credential: boolean;
}

export const anyBytes: fc.Arbitrary<Bytes> = fc
  .record({
    line: fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...LINES) },
      fc.string({ maxLength: 80 }),
    ),
    fields: fc.array(fc.constantFrom(...FIELDS), { maxLength: 6 }),
    body: fc.constantFrom(...BODIES),
    credential: fc.boolean(),
    noise: fc.option(fc.uint8Array({ maxLength: 300 }), { freq: 4 }),
    end: fc.constantFrom("\r\n\r\n", "\r\n\r\n", "\n\n", ""),
  })
  .map(({ body, credential, end, fields, line, noise }) => {
    const auth = credential ? ["Authorization: Bearer key-free"] : [];
    const head = Buffer.from([line, ...auth, ...fields].join("\r\n"), "latin1");
    const rest = Buffer.from(`${end}${body}`, "latin1");
    return { data: noise ? Buffer.from(noise) : Buffer.concat([head, rest]), credential };
  });

/** Sends the bytes and says what is wrong with what came of it: the connection ends, and each refusal is a problem. */
export async function faultOfBytes({ url }: Stage, { data }: Bytes): Promise<string | undefined> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  const closed = once(socket, "close", { signal: AbortSignal.timeout(CLOSES_WITHIN_MS) });
  socket.end(data);
  const isClosed = await closed.then(() => true).catch(() => false);
  socket.destroy();
  if (!isClosed)
    return `the connection is open after ${CLOSES_WITHIN_MS} ms; it said ${text.slice(0, 200)}`;
  return faultOfText(text);
}

function faultOfText(text: string): string | undefined {
  for (const [, status = ""] of text.matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
    if (status === "500") return `500: ${text.slice(0, 500)}`;
  }
  const [, status = "", head = "", body = ""] =
    /^HTTP\/1\.1 (4\d\d|5\d\d) [^\r]*\r\n([\s\S]*?)\r\n\r\n([\s\S]*)$/.exec(text) ?? [];
  if (status === "" || body === "") return undefined;
  if (!/application\/problem\+json/i.test(head))
    return `${status} is no problem: ${head.slice(0, 300)}`;
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? body.length);
  const problem = problemSchema.safeParse(parse(body.slice(0, length)));
  return problem.success ? undefined : `${status} does not fit: ${body.slice(0, 300)}`;
}
