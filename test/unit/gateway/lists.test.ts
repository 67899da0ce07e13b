/** Lists and look-ups over users and tenants: bounded pages, newest first, and who sees what. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readNewest } from "../../../gateway/listing.ts";
import { type JobRecord, jobRecordSchema } from "../../../protocols/job.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { openStream } from "../../support/stream-client.ts";

let rig: GatewayRig;
const jobs: Record<"pro" | "other" | "free", { id: string; session_id: string }> = {} as never;
beforeAll(async () => {
  rig = await startGatewayRig();
  for (const key of ["pro", "other", "free"] as const) {
    jobs[key] = await rig.submit(`of ${key}`, rig.keys[key]);
    await rig.executor.attempt(jobs[key].id);
  }
});
afterAll(() => rig[Symbol.asyncDispose]());

interface Page {
  readonly data: { readonly id: string; readonly state?: string }[];
  readonly next: string | null;
}
const list = async (path: string, key: string) =>
  (await (await rig.api("GET", path, { key })).json()) as Page;
const idsOf = async (path: string, key: string) => (await list(path, key)).data.map(({ id }) => id);

describe("lists", () => {
  it("show a user its own, an admin its tenant's, an operator everyone's", async () => {
    const { admin, operator, other, pro } = rig.keys;
    expect(await idsOf("/v1/jobs", pro)).toEqual([jobs.pro.id]);
    expect(await idsOf("/v1/jobs", other)).toEqual([jobs.other.id]);
    expect(await idsOf("/v1/jobs", admin)).toEqual([jobs.other.id, jobs.pro.id]);
    const all = [jobs.free.id, jobs.other.id, jobs.pro.id];
    expect(await idsOf("/v1/jobs", operator)).toEqual(all);
    expect(await idsOf("/v1/jobs?tenant=t-free", operator)).toEqual([jobs.free.id]);
    expect(await idsOf("/v1/sessions", operator)).toHaveLength(3);
    expect((await rig.api("GET", "/v1/jobs?tenant=t-free", { key: admin })).status).toBe(403);
  });

  it("filter by session and by the state that the session knows", async () => {
    const { operator } = rig.keys;
    const ofSession = `/v1/jobs?session_id=${jobs.other.session_id}`;
    expect(await idsOf(ofSession, operator)).toEqual([jobs.other.id]);
    const attempt = await rig.executor.attempt(jobs.free.id);
    await attempt.start();
    expect(await idsOf("/v1/jobs?state=running", operator)).toEqual([jobs.free.id]);
    expect(await idsOf("/v1/jobs?state=succeeded", operator)).toEqual([]);
    await attempt.succeed();
    await expect.poll(() => idsOf("/v1/jobs?state=succeeded", operator)).toEqual([jobs.free.id]);
  });

  it("of agents hold what jobs may name", async () => {
    expect(await idsOf("/v1/agents", rig.keys.pro)).toEqual(["echo", "shell"]);
  });
});

describe("a page", () => {
  const record = (n: number, tenant = "many") => {
    const id = `job_01J${String(n).padStart(23, "0")}`;
    const value: JobRecord = {
      id,
      tenant,
      user: `u${n % 3}`,
      session_id: `ses_01J${String(n).padStart(23, "0")}`,
      agent: "shell",
      tier: "free",
      prompt: "x",
      timeout_ms: null,
      created_at: n,
      state: n % 100 === 0 ? "failed" : "succeeded",
      attempt: 1,
      started_at: n,
      finished_at: n,
      exit_code: 0,
      error: null,
      usage: null,
    };
    return { key: `${tenant}.u${n % 3}.${id}`, value };
  };
  const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

  it("reads no more values than it shows, and a bounded number when a filter leaves most out", async () => {
    const { buckets } = rig.transport;
    for (let n = 1; n <= 2_500; n += 1) {
      const { key, value } = record(n);
      await buckets.put("jobs", key, encode(value));
    }
    let reads = 0;
    const counting = {
      ...buckets,
      get: (...args: Parameters<typeof buckets.get>) => {
        reads += 1;
        return buckets.get(...args);
      },
    };
    const source = { buckets: counting, bucket: "jobs", schema: jobRecordSchema } as const;
    const page = (limit: number, show: (job: JobRecord) => JobRecord | undefined, after?: string) =>
      readNewest({ ...source, pattern: "many.*.*" }, { limit, after }, show);
    const first = await page(20, (job) => job);
    expect(reads).toBe(21);
    expect(first.data.map(({ created_at }) => created_at)).toEqual(
      Array.from({ length: 20 }, (_, n) => 2_500 - n),
    );
    reads = 0;
    const failed: number[] = [];
    let after: string | undefined;
    let pages = 0;
    do {
      const next = await page(20, (job) => (job.state === "failed" ? job : undefined), after);
      failed.push(...next.data.map(({ created_at }) => created_at));
      after = next.next ?? undefined;
      pages += 1;
    } while (after !== undefined);
    expect(failed).toEqual(Array.from({ length: 25 }, (_, n) => 2_500 - n * 100));
    expect(pages).toBe(3);
    expect(reads).toBeLessThan(2_600);
  });
});

describe("an operator", () => {
  it("reads, cancels and follows a job without knowing whose it is; nobody else does", async () => {
    const { operator, pro, free } = rig.keys;
    const { id, session_id } = await rig.submit("found", pro);
    await rig.executor.attempt(id);
    expect((await rig.api("GET", `/v1/jobs/${id}`, { key: operator })).status).toBe(200);
    expect((await rig.api("GET", `/v1/sessions/${session_id}`, { key: operator })).status).toBe(
      200,
    );
    expect((await rig.api("GET", `/v1/jobs/${id}?tenant=t-free`, { key: operator })).status).toBe(
      404,
    );
    const stream = await openStream(rig.url, operator);
    stream.send({ type: "subscribe", session_id, tenant: "t-pro", after: 0 });
    await stream.until(({ type }) => type === "job.queued");
    stream.send({ type: "cancel", job_id: id, ref: "c" });
    await stream.until(({ type }) => type === "job.cancelled");
    stream.close();
    const stranger = await openStream(rig.url, free);
    stranger.send({ type: "subscribe", session_id, tenant: "t-pro", after: 0 });
    expect(await stranger.frame("error")).toMatchObject({ code: "auth.forbidden" });
    stranger.close();
  });

  it("drains a node: its service is asked, and its refusal is passed on", async () => {
    const key = rig.keys.operator;
    const drain = (id: string, who = key) => rig.api("POST", `/v1/nodes/${id}/drain`, { key: who });
    expect((await drain("rig", rig.keys.pro)).status).toBe(403);
    expect((await drain("nowhere")).status).toBe(404);
    expect((await drain("rig")).status).toBe(404); // this rig's node has no service
    const answers = [{ drained: true }, { code: "node.draining", message: "it drains" }, {}];
    const serving = rig.transport.bus.serve(subjects.node("rig", "drain"), undefined, (request) =>
      request.reply(encode(answers.shift())),
    );
    await serving.ready;
    const done = await drain("rig");
    expect([done.status, await done.json()]).toEqual([200, { id: "rig", drained: true }]);
    const refused = await drain("rig");
    expect([refused.status, await refused.json()]).toMatchObject([503, { code: "node.draining" }]);
    expect((await drain("rig")).status).toBe(500);
    await serving.close();
  });
  const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
});
