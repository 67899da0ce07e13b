import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { HttpLane, readAnswer } from "../../../bench/http-lanes.ts";

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function laneTo(listener: RequestListener): Promise<HttpLane> {
  const started = createServer(listener);
  server = started;
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  return new HttpLane({ host: "127.0.0.1", port: (started.address() as AddressInfo).port });
}

describe("a lane of HTTP calls", () => {
  it("posts over one connection that it keeps", async () => {
    const ports = new Set<number | undefined>();
    const lane = await laneTo((request, response) => {
      ports.add(request.socket.remotePort);
      void text(request).then((body) => response.end(`${request.url} ${body}`));
    });
    expect(await lane.post("/a", "text/plain", "one")).toEqual({ status: 200, body: "/a one" });
    expect(await lane.post("/b", "text/plain", "two")).toEqual({ status: 200, body: "/b two" });
    expect(ports.size).toBe(1);
    lane.close();
  });

  it("connects again when the server has closed an idle connection", async () => {
    const lane = await laneTo((_request, response) => response.end("x"));
    await lane.post("/", "text/plain", "");
    const closed = new Promise((resolve) => server?.once("connection", resolve));
    server?.closeAllConnections();
    // The end of the connection may not have been read yet; a call that meets it fails, the next one connects.
    await lane.post("/", "text/plain", "").catch(() => undefined);
    expect((await lane.post("/", "text/plain", "")).body).toBe("x");
    await closed;
    lane.close();
  });

  it("rejects when the connection breaks under a call", async () => {
    const lane = await laneTo((request) => request.socket.destroy());
    await expect(lane.post("/", "text/plain", "")).rejects.toThrow();
  });
});

describe("an answer", () => {
  const whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  const chunked =
    "HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";

  it.each([
    ["of a stated length", whole, 200],
    ["in chunks", chunked, 201],
  ])("%s is read once all of it has come", (_name, answer, status) => {
    for (let at = 0; at < answer.length; at += 1)
      expect(readAnswer(answer.slice(0, at))).toBe(undefined);
    expect(readAnswer(answer)).toEqual({ status, body: "hello" });
  });
});
