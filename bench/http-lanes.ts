/**
 * Keep-alive connections to an HTTP server, one call at a time each. Node's own client costs as much as some of the
 * servers that are measured; this one does only what they need, so that a peer is not slowed by who asks it.
 */
import { createConnection, type Socket } from "node:net";
import { within } from "./load.ts";
import type { Address } from "./peers/server-process.ts";

export interface Answer {
  readonly status: number;
  readonly body: string;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

const CALL_MS = 10_000;
const HEAD_END = "\r\n\r\n";
const LINE_END = "\r\n";

export class HttpLane {
  readonly #address: Address;
  /** Undefined before the first call, and when the server has closed an idle connection. */
  #socket: Socket | undefined;
  #received = "";
  #waiting: Waiting | undefined;

  constructor(address: Address) {
    this.#address = address;
  }

  /** Posts ASCII text; the answer is read to its end. Rejects when nothing comes for 10 s. */
  async post(path: string, type: string, body: string): Promise<Answer> {
    if (this.#waiting) throw new Error("the connection is in use");
    const socket = this.#socket ?? (await this.#connect());
    const { host, port } = this.#address;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}${HEAD_END}${body}`,
        "latin1",
      );
    });
  }

  close(): void {
    this.#socket?.destroy();
  }

  async #connect(): Promise<Socket> {
    const socket = createConnection({ ...this.#address, noDelay: true });
    const connected = new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    await within(CALL_MS, `the connection to port ${this.#address.port}`, connected);
    // Bodies here are ASCII, so that characters count as bytes.
    socket.setEncoding("latin1");
    socket.on("data", (piece: string) => this.#take(piece));
    socket.on("error", (error) => this.#fail(error));
    socket.setTimeout(CALL_MS, () => socket.destroy(new Error("no answer came in time")));
    socket.on("close", () => {
      this.#socket = undefined;
      this.#fail(new Error("the server closed the connection"));
    });
    this.#socket = socket;
    return socket;
  }

  #take(piece: string): void {
    this.#received += piece;
    const answer = readAnswer(this.#received);
    if (!answer) return;
    this.#received = "";
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(answer);
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

/** The answer, once all of it has come; undefined before. Nothing follows it: one call is open at a time. */
export function readAnswer(received: string): Answer | undefined {
  const headEnd = received.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const head = received.slice(0, headEnd).toLowerCase();
  const rest = received.slice(headEnd + HEAD_END.length);
  const status = Number(head.slice("http/1.1 ".length, "http/1.1 200".length));
  const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1];
  if (length !== undefined) {
    return rest.length >= Number(length) ? { status, body: rest } : undefined;
  }
  const body = readChunks(rest);
  return body === undefined ? undefined : { status, body };
}

function readChunks(text: string): string | undefined {
  let body = "";
  for (let at = 0; ; ) {
    const lineEnd = text.indexOf(LINE_END, at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    const from = lineEnd + LINE_END.length;
    if (text.length < from + size + LINE_END.length) return undefined;
    if (size === 0) return body;
    body += text.slice(from, from + size);
    at = from + size + LINE_END.length;
  }
}
