/** A short run of the fuzzer (`npm run fuzz` runs longer ones), and proof that it finds what is planted. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { faultOf } from "./answers.ts";
import { differenceOf } from "./pairs.ts";
import { describeReport, runFuzz } from "./run.ts";
import { faultOfBytes } from "./sockets.ts";
import { CANARY, type Stage } from "./stage.ts";

const SECONDS = 15;

describe("requests, pairs, bytes and frames of all kinds", () => {
  it("meet no crash, no 500, no answer that is no problem, and nothing of another tenant", async () => {
    const report = await runFuzz({ seed: 20_261_126, seconds: SECONDS });
    process.stdout.write(`fuzz: ${describeReport(report)}\n`);
    expect(report.failure).toBeUndefined();
    for (const count of Object.values(report.cases)) expect(count).toBeGreaterThan(20);
    expect(report.operations).toBeGreaterThan(40);
    // A fuzzer that is always refused looks at nothing.
    expect(report.statuses["200"]).toBeGreaterThan(10);
  }, 180_000);
});

describe("the fuzzer", () => {
  const request = {
    ...{ method: "GET", route: "GET /", path: "/", headers: {}, body: undefined },
    caller: "free" as const,
  };
  const answer = { status: 200, type: "application/json", requestId: "r", text: "{}" };
  it("knows a 500, a leak, and an error that is no problem", () => {
    expect(faultOf(request, answer)).toBeUndefined();
    expect(faultOf(request, { ...answer, status: 500 })).toMatch(/^500/);
    expect(faultOf(request, { ...answer, text: CANARY })).toMatch(/another tenant/);
    expect(faultOf({ ...request, caller: "pro" }, { ...answer, text: CANARY })).toBeUndefined();
    expect(faultOf(request, { ...answer, status: 404 })).toMatch(/not a problem/);
    const type = "application/problem+json";
    expect(faultOf(request, { ...answer, status: 404, type })).toMatch(/does not fit/);
    expect(faultOf(request, { ...answer, requestId: "" })).toMatch(/no request id/);
  });

  it("knows a gateway that answers with a 500, and one that tells what exists from what does not", async () => {
    const server = createServer((asked, response) => {
      const status = asked.url === "/raw" ? 500 : asked.url?.includes("t-pro") ? 403 : 404;
      response.writeHead(status, { "content-type": "application/problem+json" }).end("{}");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const stage = { url: `http://127.0.0.1:${port}`, keyOf: () => undefined } as unknown as Stage;
    const data = Buffer.from("GET /raw HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    expect(await faultOfBytes(stage, { data, credential: false })).toMatch(/^500/);
    const at = (tenant: string) => ({ ...request, path: `/v1/tenants/${tenant}` });
    const pair = { there: at("t-pro"), nowhere: at("t-void") };
    expect(await differenceOf(stage, pair)).toMatch(/is told from/);
    const same = { there: at("t-one"), nowhere: at("t-two") };
    expect(await differenceOf(stage, same)).toBeUndefined();
    server.closeAllConnections();
    server.close();
  });
});
