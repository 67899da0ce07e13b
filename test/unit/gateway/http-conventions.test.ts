/** What HTTP itself asks of every route: methods, negotiation, CORS, problems wherever something is wrong. */
import { once } from "node:events";
import { connect } from "node:net";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { prefersStream } from "../../../gateway/accept.ts";
import { fits } from "../../../gateway/routes/route-table.ts";
import { problemSchema } from "../../../protocols/api.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";

const ORIGIN = "https://app.example";

let rig: GatewayRig;
let job: { id: string; session_id: string };
beforeAll(async () => {
  const dashboard = new URL("../../../gateway/dashboard", import.meta.url).pathname;
  rig = await startGatewayRig({ config: { dashboard, corsOrigins: [ORIGIN] } });
  job = await rig.submit("x");
  await (await rig.executor.attempt(job.id)).start();
});
afterAll(() => rig[Symbol.asyncDispose]());

async function problemOf(answer: Response) {
  expect(answer.headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
  const problem = problemSchema.parse(await answer.json());
  expect(problem.status).toBe(answer.status);
  expect(problem.instance).toBe(answer.headers.get("x-request-id"));
  return problem.code;
}

/** What comes back for bytes that are no proper request. */
async function sendRaw(text: string): Promise<string> {
  const { hostname, port } = new URL(rig.url);
  const socket = connect(Number(port), hostname);
  let answer = "";
  socket.on("data", (chunk: Buffer) => {
    answer += chunk.toString();
  });
  socket.write(text);
  await once(socket, "close");
  return answer;
}

describe("methods", () => {
  it("HEAD is a GET without its body, on event streams too", async () => {
    for (const path of ["/v1/jobs", `/v1/jobs/${job.id}`, "/livez", "/openapi.json"]) {
      const answer = await rig.api("HEAD", path);
      expect(answer.status).toBe(200);
      expect(await answer.text()).toBe("");
      expect(Number(answer.headers.get("content-length"))).toBeGreaterThan(0);
    }
    const headers = { accept: "text/event-stream" };
    const events = await rig.api("HEAD", `/v1/jobs/${job.id}/events`, { headers });
    expect(events.status).toBe(200);
  });

  it.each([
    ["/v1/jobs", "GET, HEAD, POST, OPTIONS"],
    ["/v1/tenants/acme", "GET, HEAD, PUT, OPTIONS"],
    ["/livez", "GET, HEAD, OPTIONS"],
    ["/dashboard/style.css", "GET, HEAD, OPTIONS"],
  ])("of %s are told to OPTIONS and with 405", async (path, allow) => {
    const options = await rig.api("OPTIONS", path, { key: null });
    expect([options.status, options.headers.get("allow")]).toEqual([204, allow]);
    for (const method of ["PATCH", "PROPFIND"]) {
      const answer = await rig.api(method, path);
      expect([answer.status, answer.headers.get("allow")]).toEqual([405, allow]);
      expect(await problemOf(answer)).toBe("request.method_not_allowed");
    }
  });

  it("of a path that there is not are none", async () => {
    for (const method of ["GET", "PATCH", "OPTIONS"]) {
      expect(await problemOf(await rig.api(method, "/v1/nothing"))).toBe("request.not_found");
    }
    expect(await problemOf(await rig.api("GET", "/dashboard/no.js"))).toBe("request.not_found");
  });

  it("fit paths with parameters and open ends", () => {
    const of = (path: string) => path.split("/");
    expect(fits(of("/v1/jobs/:id"), of("/v1/jobs/x"))).toBe(true);
    expect(fits(of("/v1/jobs/:id"), of("/v1/jobs"))).toBe(false);
    expect(fits(of("/dashboard/*"), of("/dashboard/lib/a.js"))).toBe(true);
    expect(fits(of("/dashboard/*"), of("/dashboard"))).toBe(false);
  });
});

describe("another origin's page", () => {
  const preflight = (origin: string) =>
    rig.api("OPTIONS", "/v1/jobs", {
      key: null,
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,idempotency-key",
      },
    });

  it("may call when it is configured, also to read a refusal", async () => {
    const asked = await preflight(ORIGIN);
    expect(asked.status).toBe(204);
    expect(asked.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(asked.headers.get("access-control-allow-methods")).toContain("POST");
    expect(asked.headers.get("access-control-allow-headers")).toContain("idempotency-key");
    const refused = await rig.api("GET", "/v1/me", { key: "wrong", headers: { origin: ORIGIN } });
    expect(refused.status).toBe(401);
    expect(refused.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(refused.headers.get("access-control-expose-headers")).toContain("retry-after");
    expect(refused.headers.get("access-control-allow-credentials")).toBeNull();
  });

  it("gets no permission when it is not", async () => {
    const asked = await preflight("https://evil.example");
    expect(asked.headers.get("access-control-allow-origin")).toBeNull();
  });
});

describe("what is wrong", () => {
  it.each([
    ["xml", 415, "request.unsupported_media_type", { "content-type": "application/xml" }, "<a/>"],
    ["no body", 422, "request.invalid", {}, undefined],
    ["half an object", 400, "request.malformed", { "content-type": "application/json" }, "{"],
    ["3 MB", 413, "request.too_large", {}, { agent: "shell", prompt: "x".repeat(3_000_000) }],
  ])("with a body of %s is said as a problem", async (_name, status, code, headers, body) => {
    const answer = await rig.api("POST", "/v1/jobs", { headers, body });
    expect(answer.status).toBe(status);
    expect(await problemOf(answer)).toBe(code);
  });

  it("below HTTP is said as a problem, too, and the connection ends", async () => {
    const { host } = new URL(rig.url);
    const upgrade = `GET /v1/stream HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
    for (const [text, status, code] of [
      ["what is this\r\n\r\n", 400, "request.malformed"],
      [`GET / HTTP/1.1\r\nX: ${"y".repeat(20_000)}\r\n\r\n`, 413, "request.too_large"],
      [
        `${upgrade}Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: x\r\n\r\n`,
        400,
        "request.malformed",
      ],
    ] as const) {
      const answer = await sendRaw(text);
      expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect(answer).toContain("Content-Type: application/problem+json");
      expect(answer).toContain(`"code":"${code}"`);
    }
  });

  it("a stream that is read without a WebSocket is told to upgrade", async () => {
    const answer = await rig.api("GET", "/v1/stream");
    expect(answer.headers.get("upgrade")).toBe("websocket");
    expect(await problemOf(answer)).toBe("request.upgrade_required");
  });

  it("an id whose time no clock can tell is just not there", async () => {
    const answer = await rig.api("GET", "/v1/jobs/job_ZZZZZZZZZZZZZZZZZZZZZZZZZZ");
    expect(await problemOf(answer)).toBe("job.not_found");
  });
});

describe("events", () => {
  it.each([
    [undefined, false],
    ["*/*", false],
    ["text/event-stream", true],
    ["application/json", false],
    ["text/event-stream, */*", true],
    ["text/event-stream;q=0", false],
    ["application/json, text/event-stream;q=0.5", false],
    ["application/json;q=0.5, TEXT/EVENT-STREAM", true],
    ["text/event-stream;q=high", false],
  ])("for Accept: %s come as a stream: %s", (accept, isStream) => {
    expect(prefersStream(accept)).toBe(isStream);
  });
});

describe("health", () => {
  it("/readyz tells why when it is asked to", async () => {
    const answer = await rig.api("GET", "/readyz?verbose", { key: null });
    expect(await answer.json()).toEqual({
      status: "ok",
      checks: { broker: "ok", drain: "ok", streams: "0" },
    });
    expect(await (await rig.api("GET", "/readyz", { key: null })).json()).toEqual({ status: "ok" });
  });

  it("a gateway that drains is alive and not ready", async () => {
    const other = await rig.another();
    await other.drain();
    expect((await fetch(`${other.url}/livez`)).status).toBe(200);
    const answer = await fetch(`${other.url}/readyz?verbose`);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ checks: { drain: "draining" } });
  });
});

it("the OpenAPI document is one by the specification's own schema", async () => {
  const document = (await (await rig.api("GET", "/openapi.json", { key: null })).json()) as Record<
    string,
    unknown
  >;
  const validator = new Validator();
  expect(await validator.validate(document)).toEqual({ valid: true });
  expect(validator.version).toBe("3.1");
});
