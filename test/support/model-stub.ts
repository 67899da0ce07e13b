/**
 * A stand-in for the models' HTTP APIs: the Messages API (`/v1/messages`) and the Responses API
 * (`/v1/responses`), both as server-sent events. It answers `echo: <last user text>`; a prompt with
 * `RUN: <command>` makes it call the agent's shell tool once; `FAIL: <status>` makes it refuse.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

import type { Certificate } from "./certificate.ts";

export interface ModelStub extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly requests: {
    readonly path: string;
    readonly body: unknown;
    readonly headers: IncomingMessage["headers"];
  }[];
}

const LOOPBACK = { host: "127.0.0.1", port: 0 };

/** With a certificate it speaks TLS. */
export async function startModelStub(
  certificate?: Certificate,
  { host, port: wanted }: { readonly host: string; readonly port: number } = LOOPBACK,
): Promise<ModelStub> {
  const requests: ModelStub["requests"] = [];
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    void readBody(request).then((text) => {
      const body: unknown = text.startsWith("{") ? JSON.parse(text) : {};
      const path = (request.url ?? "").split("?")[0] ?? "";
      requests.push({ path, body, headers: request.headers });
      answer(path, body, response);
    });
  };
  const server =
    certificate === undefined ? createServer(serve) : createTlsServer(certificate, serve);
  await new Promise<void>((resolve) => server.listen(wanted, host, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http${certificate === undefined ? "" : "s"}://${host}:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function answer(path: string, body: unknown, response: ServerResponse): void {
  const last = lastUserText(body);
  const refused = /FAIL: (\d{3})/.exec(last);
  if (refused) {
    response.writeHead(Number(refused[1]), { "content-type": "application/json" });
    response.end(
      JSON.stringify({
        type: "error",
        error: { type: "invalid_request_error", message: "the stub refuses" },
      }),
    );
  } else if (path.endsWith("/messages")) {
    sse(response, messages(last, body));
  } else if (path.endsWith("/responses")) {
    sse(response, responses(last, body));
  } else if (path.endsWith("/count_tokens")) {
    response.writeHead(200, { "content-type": "application/json" }).end('{"input_tokens":7}');
  } else {
    response.writeHead(404, { "content-type": "application/json" }).end("{}");
  }
}

interface Item {
  readonly role?: string;
  readonly type?: string;
  readonly content?: string | readonly { readonly type?: string; readonly text?: string }[];
}

function itemsOf(body: unknown): readonly Item[] {
  const request = body as { messages?: readonly Item[]; input?: readonly Item[] };
  return request.messages ?? request.input ?? [];
}

function textsOf(item: Item): string[] {
  if (typeof item.content === "string") return [item.content];
  return (item.content ?? []).flatMap((part) => (typeof part.text === "string" ? [part.text] : []));
}

/** What the person said last, without what the CLIs put around it. */
function lastUserText(body: unknown): string {
  const texts = itemsOf(body)
    .filter((item) => item.role === "user")
    .flatMap(textsOf)
    .filter((text) => !text.startsWith("<"));
  return texts.at(-1) ?? "";
}

/** Set when the conversation ends with a tool's result: then the answer is text. */
function hasToolResult(body: unknown): boolean {
  const last = itemsOf(body).at(-1);
  if (last?.type === "function_call_output" || last?.type === "custom_tool_call_output")
    return true;
  return Array.isArray(last?.content) && last.content.some((part) => part.type === "tool_result");
}

function toolsOf(body: unknown): readonly { readonly name?: string }[] {
  return (body as { tools?: readonly { name?: string }[] }).tools ?? [];
}

function commandIn(text: string, body: unknown): string | undefined {
  return hasToolResult(body) ? undefined : /RUN: (.+)/.exec(text)?.[1];
}

function* messages(last: string, body: unknown): Generator<[string, object]> {
  const usage = {
    input_tokens: 11,
    output_tokens: 1,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
  };
  const message = {
    id: "msg_stub",
    type: "message",
    role: "assistant",
    model: "stub",
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage,
  };
  yield ["message_start", { message }];
  const command = commandIn(last, body);
  if (command === undefined) {
    yield ["content_block_start", { index: 0, content_block: { type: "text", text: "" } }];
    for (const text of ["echo: ", last.slice(0, 100)]) {
      yield ["content_block_delta", { index: 0, delta: { type: "text_delta", text } }];
    }
  } else {
    yield [
      "content_block_start",
      { index: 0, content_block: { type: "tool_use", id: "toolu_stub", name: "Bash", input: {} } },
    ];
    const partial_json = JSON.stringify({ command, description: "runs it" });
    yield ["content_block_delta", { index: 0, delta: { type: "input_json_delta", partial_json } }];
  }
  yield ["content_block_stop", { index: 0 }];
  yield [
    "message_delta",
    {
      delta: { stop_reason: command === undefined ? "end_turn" : "tool_use", stop_sequence: null },
      usage: { output_tokens: 5 },
    },
  ];
  yield ["message_stop", {}];
}

function* responses(last: string, body: unknown): Generator<[string, object]> {
  const id = "resp_stub";
  yield ["response.created", { response: { id } }];
  const command = commandIn(last, body);
  if (command === undefined) {
    const text = `echo: ${last.slice(0, 100)}`;
    const item = {
      type: "message",
      id: "msg_stub",
      role: "assistant",
      content: [{ type: "output_text", text }],
    };
    yield ["response.output_item.added", { output_index: 0, item: { ...item, content: [] } }];
    yield [
      "response.output_text.delta",
      { item_id: "msg_stub", output_index: 0, content_index: 0, delta: text },
    ];
    yield ["response.output_item.done", { output_index: 0, item }];
  } else {
    yield ["response.output_item.done", { output_index: 0, item: shellCall(command, body) }];
  }
  const usage = {
    input_tokens: 11,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 5,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 16,
  };
  yield ["response.completed", { response: { id, usage } }];
}

/** A call of whichever shell tool the CLI offers. */
function shellCall(command: string, body: unknown): object {
  const name =
    toolsOf(body).find((tool) => /shell|exec_command/.test(tool.name ?? ""))?.name ?? "shell";
  const input =
    name === "shell"
      ? { command: ["sh", "-c", command] }
      : name === "exec_command"
        ? { cmd: command }
        : { command };
  return {
    type: "function_call",
    id: "fc_stub",
    call_id: "call_stub",
    name,
    arguments: JSON.stringify(input),
  };
}

function sse(response: ServerResponse, events: Iterable<[string, object]>): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const [type, data] of events) {
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
  }
  response.end();
}
