import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";

let rig: GatewayRig;
beforeAll(async () => {
  const dashboard = new URL("../../../gateway/dashboard", import.meta.url).pathname;
  rig = await startGatewayRig({ config: { dashboard } });
});
afterAll(() => rig[Symbol.asyncDispose]());

async function problem(answer: Response) {
  expect(answer.headers.get("content-type")).toContain("application/problem+json");
  return (await answer.json()) as { code: string; status: number; retryable: boolean };
}

describe("a job over HTTP", () => {
  it("is accepted with its place, what remains of the hour, and can be read at once", async () => {
    const answer = await rig.api("POST", "/v1/jobs", { body: { agent: "shell", prompt: "ls" } });
    expect(answer.status).toBe(202);
    expect(answer.headers.get("ratelimit-policy")).toBe('"hourly";q=100;w=3600');
    expect(answer.headers.get("ratelimit")).toMatch(/^"hourly";r=\d+;t=\d+$/);
    const job = (await answer.json()) as { id: string; session_id: string };
    expect(answer.headers.get("location")).toBe(`/v1/jobs/${job.id}`);
    const read = await rig.api("GET", `/v1/jobs/${job.id}`);
    expect(read.status).toBe(200);
    expect(await read.json()).toMatchObject({ id: job.id, prompt: "ls", timeout_ms: 1_800_000 });
    const session = await rig.api("GET", `/v1/sessions/${job.session_id}`);
    expect(session.status).toBe(200);
    const attempt = await rig.executor.attempt(job.id);
    await attempt.start();
    expect(await (await rig.api("GET", `/v1/jobs/${job.id}`)).json()).toMatchObject({
      state: "running",
      worker: attempt.order.worker,
    });
    const cancel = await rig.api("POST", `/v1/jobs/${job.id}/cancel`);
    expect(cancel.status).toBe(202);
    const stream = await rig.api("GET", `/v1/jobs/${job.id}/events`, {
      headers: { accept: "text/event-stream" },
    });
    const text = await stream.text();
    expect(text).toContain("event: job.cancelled");
    expect(text.match(/^id: /gm)?.length).toBe(4);
    const page = await rig.api("GET", `/v1/jobs/${job.id}/events`);
    const { data } = (await page.json()) as { data: { seq: number }[] };
    expect(data.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
  });

  it("of another user or tenant does not exist, except for the tenant's admin", async () => {
    const { id, session_id } = await rig.submit("ls");
    expect((await rig.api("GET", `/v1/jobs/${id}`)).status).toBe(200);
    for (const key of [rig.keys.other, rig.keys.free]) {
      for (const path of [
        `/v1/jobs/${id}`,
        `/v1/jobs/${id}/events`,
        `/v1/sessions/${session_id}`,
      ]) {
        expect((await rig.api("GET", path, { key })).status).toBe(404);
      }
      expect((await rig.api("POST", `/v1/jobs/${id}/cancel`, { key })).status).toBe(404);
    }
    expect((await rig.api("GET", `/v1/jobs/${id}`, { key: rig.keys.admin })).status).toBe(200);
    const byOperator = await rig.api("GET", `/v1/jobs/${id}?tenant=t-pro`, {
      key: rig.keys.operator,
    });
    expect(byOperator.status).toBe(200);
  });
});

describe("bad requests", () => {
  it.each([
    ["malformed JSON", "{", 400, "request.malformed"],
    ["an unknown field", { agent: "shell", prompt: "x", colour: 1 }, 422, "request.invalid"],
    ["no prompt", { agent: "shell" }, 422, "request.invalid"],
    ["an unknown agent", { agent: "nobody", prompt: "x" }, 422, "agent.unknown"],
    [
      "a model of another tier",
      { agent: "shell", prompt: "x", model: "gpt-9" },
      403,
      "quota.model",
    ],
    [
      "a prompt over the limit",
      { agent: "shell", prompt: "x".repeat(300_000) },
      413,
      "request.too_large",
    ],
    ["10 MiB", { agent: "shell", prompt: "x".repeat(10 * 1024 ** 2) }, 413, "request.too_large"],
    ["a prototype", '{"agent":"shell","prompt":"x","__proto__":{}}', 400, "request.malformed"],
  ])("%s is refused with a clear code", async (_name, body, status, code) => {
    const answer = await rig.api("POST", "/v1/jobs", { body });
    expect(answer.status).toBe(status);
    expect(await problem(answer)).toMatchObject({ code, status, retryable: false });
  });

  it.each([
    ["a.b", 422],
    ["*", 422],
    [">", 422],
    ["..%2f..", 422],
    ["%00", 422],
    ["x".repeat(300), 422],
    ["job_01J00000000000000000000000", 404],
    ["%zz", 400],
  ])("an id %s is refused before it is used", async (id, status) => {
    const answer = await rig.api("GET", `/v1/jobs/${id}`);
    expect(answer.status).toBe(status);
    const { code } = await problem(answer);
    expect(code).toBe(
      { 422: "id.invalid", 404: "job.not_found", 400: "request.malformed" }[status],
    );
  });

  it("an unknown route is 404, a known one with another method is 405", async () => {
    expect((await rig.api("GET", "/v1/nothing")).status).toBe(404);
    const answer = await rig.api("DELETE", "/v1/jobs");
    expect(answer.status).toBe(405);
    expect(answer.headers.get("allow")).toBe("GET, HEAD, POST, OPTIONS");
    const text = await rig.api("POST", "/v1/jobs", {
      body: "x",
      headers: { "content-type": "text/plain" },
    });
    expect(text.status).toBe(415);
  });
});

describe("credentials", () => {
  it("none, a wrong one, an expired one and a key in the URL are refused", async () => {
    expect((await rig.api("GET", "/v1/me", { key: null })).status).toBe(401);
    expect((await rig.api("GET", "/v1/me", { key: "wrong" })).status).toBe(401);
    expect((await rig.api("GET", `/v1/me?token=${rig.keys.pro}`, { key: null })).status).toBe(401);
    await rig.addKey("old", { tenant: "t-pro", expires_at: 1 });
    const answer = await rig.api("GET", "/v1/me", { key: "old" });
    expect(await problem(answer)).toMatchObject({ code: "auth.expired", status: 401 });
  });

  it("work as Bearer and as X-API-Key, and stop when the key is revoked", async () => {
    await rig.addKey("fleeting", { tenant: "t-pro" });
    expect((await rig.api("GET", "/v1/me", { key: "fleeting" })).status).toBe(200);
    const byHeader = await rig.api("GET", "/v1/me", {
      key: null,
      headers: { "x-api-key": "fleeting" },
    });
    expect(await byHeader.json()).toEqual({
      tenant: "t-pro",
      user: "u1",
      scope: "user",
      tier: "pro",
    });
    await rig.addKey("fleeting", { tenant: "t-pro", revoked: true });
    expect((await rig.api("GET", "/v1/me", { key: "fleeting" })).status).toBe(401);
  });

  it("of users do not open operators' routes", async () => {
    for (const path of [
      "/v1/tenants",
      "/v1/nodes",
      "/v1/workers",
      "/v1/dead-letters",
      "/v1/queues",
    ]) {
      expect((await rig.api("GET", path)).status).toBe(403);
      expect((await rig.api("GET", path, { key: rig.keys.operator })).status).toBe(200);
    }
  });
});

describe("an operator", () => {
  it("gives a tenant hosts that its workers may reach, which stay until others are given, and nobody else does", async () => {
    const put = async (body: object, key = rig.keys.operator) => {
      const whole = { name: "Acme", tier: "free", ...body };
      const answer = await rig.api("PUT", "/v1/tenants/acme", { key, body: whole });
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    };
    const git = { host: "git.example.com", ports: [22], allow_private: false };
    const house = { host: "npm.house", ports: [443, 80], allow_private: true };
    const given = ["Git.example.com:22", { host: "npm.house", allow_private: true }];
    expect((await put({ egress: given })).body["egress"]).toEqual([git, house]);
    expect((await put({ suspended: true })).body["egress"]).toEqual([git, house]);
    expect((await put({ egress: ["http://x"] })).status).toBe(422);
    expect((await put({ egress: [] })).body).toMatchObject({ egress: [], keys: "sealed" });
    expect((await put({ keys: "brokered" })).body["keys"]).toBe("brokered");
    expect((await put({})).body).toMatchObject({ egress: [], keys: "brokered" });
    expect((await put({ egress: ["a.test"] }, rig.keys.free)).status).toBe(403);
  });

  it("makes a tenant, gives it a key once, suspends it, revokes the key", async () => {
    const key = rig.keys.operator;
    const put = (suspended: boolean) =>
      rig.api("PUT", "/v1/tenants/acme", { key, body: { name: "Acme", tier: "free", suspended } });
    expect((await put(false)).status).toBe(200);
    const headers = { "idempotency-key": "make-key" };
    const body = { name: "first", user: "ann" };
    await expect
      .poll(async () => (await rig.api("GET", "/v1/tenants/acme", { key })).status)
      .toBe(200);
    const made = await rig.api("POST", "/v1/tenants/acme/keys", { key, body, headers });
    expect(made.status).toBe(201);
    const created = (await made.json()) as { id: string; key: string };
    const again = await rig.api("POST", "/v1/tenants/acme/keys", { key, body, headers });
    expect(await again.json()).toEqual(created);
    expect((await rig.api("GET", "/v1/limits", { key: created.key })).status).toBe(200);
    const list = await rig.api("GET", "/v1/tenants/acme/keys", { key });
    expect(JSON.stringify(await list.json())).not.toContain(created.key);
    await put(true);
    await expect
      .poll(async () => (await rig.api("GET", "/v1/me", { key: created.key })).status)
      .toBe(423);
    await put(false);
    const revoked = await rig.api("DELETE", `/v1/tenants/acme/keys/${created.id}`, { key });
    expect(revoked.status).toBe(204);
    await expect
      .poll(async () => (await rig.api("GET", "/v1/me", { key: created.key })).status)
      .toBe(401);
  });
});

describe("an idempotency key", () => {
  it("answers a repetition with the first answer, and another body with 422", async () => {
    const headers = { "idempotency-key": "once" };
    const body = { agent: "shell", prompt: "once" };
    const first = await rig.api("POST", "/v1/jobs", { body, headers });
    const second = await rig.api("POST", "/v1/jobs", { body, headers });
    expect(second.status).toBe(202);
    expect(await second.json()).toEqual(await first.json());
    expect(second.headers.get("location")).toBe(first.headers.get("location"));
    const other = await rig.api("POST", "/v1/jobs", { body: { ...body, prompt: "two" }, headers });
    expect(await problem(other)).toMatchObject({ code: "idempotency.mismatch", status: 422 });
  });

  it("sent at the same moment acts once", async () => {
    const headers = { "idempotency-key": "race" };
    const body = { agent: "shell", prompt: "race" };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => rig.api("POST", "/v1/jobs", { body, headers })),
    );
    const ids = new Set<string>();
    for (const answer of answers) {
      if (answer.status === 202) ids.add(((await answer.json()) as { id: string }).id);
      else expect(answer.status).toBe(409);
    }
    expect(ids.size).toBe(1);
  });
});

describe("limits", () => {
  it("past the hour's jobs say 429 with what to wait for", async () => {
    const key = rig.keys.free;
    for (let i = 0; i < 10; i += 1) await rig.submit("x", key);
    const answer = await rig.api("POST", "/v1/jobs", {
      key,
      body: { agent: "shell", prompt: "x" },
    });
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(3_000);
    expect(answer.headers.get("ratelimit")).toMatch(/^"hourly";r=0;t=\d+$/);
    expect(await problem(answer)).toMatchObject({ code: "quota.hourly", retryable: true });
  });
});

describe("lists", () => {
  it("page through everything once, newest first", async () => {
    const mine: string[] = [];
    for (let i = 0; i < 5; i += 1) mine.push((await rig.submit("x", rig.keys.enterprise)).id);
    const key = rig.keys.enterprise;
    await expect
      .poll(
        async () =>
          ((await (await rig.api("GET", "/v1/jobs", { key })).json()) as { data: [] }).data.length,
      )
      .toBe(5);
    const seen: string[] = [];
    let after = "";
    for (;;) {
      const answer = await rig.api("GET", `/v1/jobs?limit=2${after}`, { key });
      const page = (await answer.json()) as { data: { id: string }[]; next: string | null };
      seen.push(...page.data.map(({ id }) => id));
      if (page.next === null) break;
      after = `&after=${page.next}`;
    }
    expect(seen).toEqual(mine.toSorted().toReversed());
    expect((await rig.api("GET", "/v1/sessions?limit=1000", { key })).status).toBe(422);
    const sessions = await rig.api("GET", "/v1/sessions", { key });
    expect(((await sessions.json()) as { data: [] }).data.length).toBe(5);
  });
});

describe("the dashboard", () => {
  it("is served under /dashboard/ with a policy that allows its own files only", async () => {
    const home = await rig.api("GET", "/", { key: null });
    expect(home.url).toBe(`${rig.url}/dashboard/`);
    expect(home.headers.get("content-type")).toContain("text/html");
    expect(home.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect((await rig.api("GET", "/dashboard/style.css", { key: null })).status).toBe(200);
    expect((await rig.api("GET", "/dashboard/..%2fserver.ts", { key: null })).status).not.toBe(200);
    expect((await rig.api("GET", "/dashboard/nothing.js", { key: null })).status).toBe(404);
  });
});

describe("operations", () => {
  it("serve health, metrics on their own port, and an OpenAPI 3.1 document", async () => {
    for (const path of ["/livez", "/readyz", "/health", "/ready", "/readyz?verbose"]) {
      expect((await rig.api("GET", path, { key: null })).status).toBe(200);
    }
    expect(await (await fetch(rig.gateway.metricsUrl)).text()).toBe("berth_up 1\n");
    const document = (await (await rig.api("GET", "/openapi.json", { key: null })).json()) as {
      openapi: string;
      paths: Record<string, Record<string, { operationId: string }>>;
    };
    expect(document.openapi).toBe("3.1.0");
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
    const ids = operations.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Object.keys(document.paths)).toContain("/v1/jobs/{id}/events");
  });
});
