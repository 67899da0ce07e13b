import { beforeEach, describe, expect, it } from "vitest";
import { actorOptions } from "../../../actors/options.ts";
import { sessionActor } from "../../../actors/session/session.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import { type Recorded, type TurnRig, turnRig } from "../../support/turn.ts";

const tiers = tierTable({ pro: { jobTimeoutMs: 10_000, sessionResumeMs: 60_000 } });
const sessionId = `ses_${"0".repeat(26)}`;
const self = { kind: "session", tenant: "acme", key: sessionId };
const place = { kind: "user-worker", tenant: "acme", key: "ann" };
const job = "job_1";
const worker = "wrk_1";

const types = (recorded: Recorded) => recorded.events.map((event) => event.type);
const lossesIn = ({ logs }: Recorded) =>
  logs.filter(({ message }) => message === "an attempt is lost").map(({ fields }) => fields);
const told = (recorded: Recorded) => recorded.tells.map((t) => `${t.to} ${t.type}`);

describe("a session", () => {
  let rig: TurnRig;
  beforeEach(() => {
    rig = turnRig(sessionActor(actorOptions({ tiers })), self);
  });

  const ticket = (job_id = job, attempt = 1) => ({
    job_id,
    session_id: sessionId,
    user: "ann",
    tenant: "acme",
    agent: "echo",
    tier: "pro",
    queued_at: rig.now,
    attempt,
  });
  const birth = { user: "ann", agent: "echo", tier: "pro" };
  const queue = (job_id = job) =>
    rig.turn("queued", { ticket: ticket(job_id), prompt_preview: "hello", birth });
  const assign = (attempt = 1, on = worker) =>
    rig.turn("assign", { ticket: ticket(job, attempt), worker: on, place });
  const frame = (number: number, more: object = {}) =>
    rig.turn("frame", { worker, job_id: job, attempt: 1, frame: number, events: [], ...more });
  const started = () => ({ type: "job.started", at: rig.now, data: { pid: 7, worker: "forged" } });
  const output = (text: string) => ({
    type: "agent.output",
    at: rig.now,
    data: { stream: "stdout", text, offset: 0 },
  });
  const succeeded = { state: "succeeded", exit_code: 0, usage: { input_tokens: 3 } };

  it("journals a job from its queue to its end, numbers without a gap, each transition once", () => {
    const all = [
      queue(),
      assign(),
      frame(1, { events: [started(), output("hi")] }),
      frame(2, { outcome: succeeded }),
    ];
    const events = all.flatMap((r) => r.events);
    expect(events.map((e) => [e.seq, e.type])).toEqual([
      [1, "job.queued"],
      [2, "job.starting"],
      [3, "job.started"],
      [4, "agent.output"],
      [5, "job.succeeded"],
    ]);
    expect(events[2]?.data).toEqual({ worker, attempt: 1, pid: 7 });
    const last = all[3];
    expect(last?.puts).toMatchObject([
      {
        bucket: "jobs",
        key: "acme.ann.job_1",
        mode: "patch",
        value: { state: "succeeded", exit_code: 0, error: null, usage: { input_tokens: 3 } },
      },
    ]);
    expect(last?.puts[0]?.value).not.toHaveProperty("prompt");
    expect(last && told(last)).toEqual(["acme/user/ann finished", "acme/user-worker/ann released"]);
    expect(last?.metrics).toContainEqual(
      expect.objectContaining({
        name: "berth_jobs_total",
        labels: { tier: "pro", agent_type: "echo", status: "succeeded" },
      }),
    );
    expect(rig.reminders.size).toBe(0);
  });

  it("drops a frame it has had, refuses one that is early, and acknowledges a last one again", () => {
    queue();
    assign();
    frame(1, { events: [started()] });
    expect(frame(1, { events: [started()] })).toMatchObject({
      reply: { acked: 1 },
      events: [],
      tells: [],
    });
    expect(() => frame(3)).toThrow(
      expect.objectContaining({ code: "job.not_running", retry: "later" }),
    );
    frame(2, { outcome: succeeded });
    expect(frame(2, { outcome: succeeded })).toMatchObject({
      reply: { acked: 2 },
      events: [],
      tells: [],
    });
    expect(() => frame(3)).toThrow(
      expect.objectContaining({ code: "job.superseded", retry: "never" }),
    );
  });

  it("refuses frames of a worker that is not the attempt's", () => {
    queue();
    assign();
    expect(() => frame(1, { worker: "wrk_2" })).toThrow(
      expect.objectContaining({ code: "job.superseded" }),
    );
    expect(() => frame(1, { attempt: 2 })).toThrow(
      expect.objectContaining({ code: "job.superseded" }),
    );
  });

  it("dates events by the executor's clock, but never before the last one nor ahead of its own", () => {
    queue();
    assign();
    const at = (ms: number) => ({ ...output("x"), at: ms });
    const base = rig.now;
    rig.now += 100;
    const { events } = frame(1, { events: [at(base + 50), at(base + 10), at(base + 9_999)] });
    expect(events.slice(1).map((e) => Date.parse(e.time) - base)).toEqual([50, 50, 100]);
  });

  it("cancels a waiting job at once, without a worker", () => {
    queue();
    const cancelled = rig.turn("cancel", { job_id: job, by: "ann" });
    expect(types(cancelled)).toEqual(["job.cancelled"]);
    expect(told(cancelled)).toEqual(["acme/user/ann finished", "acme/user-worker/ann withdraw"]);
    expect(told(assign())).toEqual(["acme/user-worker/ann released"]);
    expect(rig.turn("cancel", { job_id: job, by: "ann" }).events).toEqual([]);
  });

  it("obeys a cancel that overtook its job", () => {
    rig.turn("cancel", { job_id: job, by: "ann" });
    expect(types(queue())).toEqual(["job.queued", "job.cancelled"]);
  });

  it("keeps an assignment that overtook its job, and starts when the job is there", () => {
    expect(assign()).toMatchObject({ tells: [], effects: [] });
    const queued = queue();
    expect(types(queued)).toEqual(["job.queued", "job.starting"]);
    expect(queued.effects).toMatchObject([{ tool: "session.run-attempt", input: { worker } }]);
  });

  it("tries again when an overtaking assignment's worker was lost too, and frees its slot on a cancel", () => {
    assign();
    rig.turn("lost", { job_id: job, attempt: 1, worker, reason: "killed" });
    expect(types(queue()).slice(2)).toEqual(["job.interrupted", "job.queued"]);
    rig.turn("assign", { ticket: ticket("job_2"), worker, place });
    rig.turn("cancel", { job_id: "job_2", by: "ann" });
    const cancelled = queue("job_2");
    expect(types(cancelled)).toEqual(["job.queued", "job.cancelled"]);
    expect(told(cancelled)).toContain("acme/user-worker/ann released");
  });

  it("gives the slot back when the job of an assignment never comes", () => {
    assign();
    expect(told(rig.fire(`watch-${job}`))).toEqual(["acme/user-worker/ann released"]);
  });

  it("cancels a running job only when its executor says that it is gone", () => {
    queue();
    assign();
    frame(1, { events: [started()] });
    const order = rig.turn("cancel", { job_id: job, by: "ann" });
    expect(order.events).toEqual([]);
    expect(order.effects).toMatchObject([
      { tool: "session.cancel-attempt", input: { worker, job_id: job, attempt: 1, by: "ann" } },
    ]);
    expect(rig.turn("cancel", { job_id: job, by: "bob" }).effects).toEqual([]);
    const end = frame(2, { outcome: { state: "cancelled", processes_killed: 3 } });
    expect(end.events).toMatchObject([
      { type: "job.cancelled", data: { by: "ann", processes_killed: 3 } },
    ]);
  });

  it("repeats a cancel that may have overtaken the start", () => {
    queue();
    assign();
    rig.turn("cancel", { job_id: job, by: "ann" });
    expect(frame(1, { events: [started()] }).effects).toMatchObject([
      { tool: "session.cancel-attempt" },
    ]);
  });

  it("keeps the truth of a job that succeeded before its cancel arrived", () => {
    queue();
    assign();
    rig.turn("cancel", { job_id: job, by: "ann" });
    expect(types(frame(1, { events: [started()], outcome: succeeded }))).toEqual([
      "job.started",
      "job.succeeded",
    ]);
  });

  it("takes a cancelled job's lost worker for the confirmation", () => {
    queue();
    assign();
    const effect = rig.turn("cancel", { job_id: job, by: "ann" }).effects[0]?.id;
    const unknown = rig.turn("cancelFailed", {
      effect,
      error: { code: "job.not_running", message: "" },
    });
    expect(unknown.events).toEqual([]);
    const gone = rig.turn("cancelFailed", {
      effect,
      error: { code: "worker.lost", message: "gone" },
    });
    expect(types(gone)).toEqual(["job.cancelled"]);
  });

  it("says cancelled only when the worker that does not confirm it is gone", () => {
    queue();
    assign();
    rig.turn("cancel", { job_id: job, by: "ann" });
    const unconfirmed = rig.fire(`watch-${job}`);
    expect(unconfirmed.events).toEqual([]);
    expect(unconfirmed.tells).toMatchObject([{ type: "condemn", payload: { worker } }]);
    const lost = rig.turn("lost", { job_id: job, attempt: 1, worker, reason: "it was ended" });
    expect(types(lost)).toEqual(["job.cancelled"]);
  });

  it("queues a job again, once, when its worker was lost before its agent started", () => {
    queue();
    assign();
    const lost = rig.turn("lost", { job_id: job, attempt: 1, worker, reason: "killed" });
    expect(lost.events).toMatchObject([
      { type: "job.interrupted", data: { reason: "killed", will_retry: true } },
      { type: "job.queued", data: { attempt: 2, prompt_preview: "hello" } },
    ]);
    expect(told(lost)).toEqual(["acme/user-worker/ann released", "acme/user-worker/ann enqueue"]);
    expect(lost.tells[1]?.payload).toMatchObject({ ticket: { attempt: 2 } });
    expect(() => frame(1)).toThrow(expect.objectContaining({ code: "job.superseded" }));
    assign(2, "wrk_2");
    const again = rig.turn("lost", { job_id: job, attempt: 2, worker: "wrk_2", reason: "killed" });
    expect(again.events).toMatchObject([{ type: "job.interrupted", data: { will_retry: false } }]);
    expect(again.puts).toMatchObject([
      { value: { state: "interrupted", attempt: 2, error: { code: "job.executor_lost" } } },
    ]);
  });

  it("does not repeat a job whose agent had started", () => {
    queue();
    assign();
    frame(1, { events: [started()] });
    const lost = rig.turn("lost", { job_id: job, attempt: 1, worker, reason: "killed" });
    expect(types(lost)).toEqual(["job.interrupted"]);
    expect(told(lost)).toContain("acme/user/ann finished");
  });

  it("writes down of a lost attempt whose word that is, on what evidence, and what follows", () => {
    queue();
    const effect = assign().effects[0]?.id;
    const error = { code: "worker.lost", message: "worker wrk_1 does not answer" };
    const first = rig.turn("runFailed", { effect, error });
    const of = { job, attempt: 1, worker, state: "starting", by: "run" };
    const evidence = { code: "worker.lost", reason: error.message };
    expect(lossesIn(first)).toEqual([{ ...of, ...evidence, verdict: "retry" }]);
    assign(2, "wrk_2");
    const gone = { worker: "wrk_2", reason: "it fell silent", code: "worker.lost" };
    const second = rig.turn("lost", { job_id: job, attempt: 2, ...gone });
    expect(lossesIn(second)).toMatchObject([{ ...gone, by: "place", verdict: "interrupted" }]);
  });

  it("says in event and record that its worker ran out of memory, with the host's own words", () => {
    queue();
    assign();
    frame(1, { events: [started()] });
    const code = "worker.out_of_memory";
    const reason = "it used more than its 512 MiB";
    const lost = rig.turn("lost", { job_id: job, attempt: 1, worker, reason, code });
    expect(lost.events).toMatchObject([
      { type: "job.interrupted", data: { reason, code, will_retry: false } },
    ]);
    expect(lost.puts).toMatchObject([
      { value: { state: "interrupted", error: { code, message: reason } } },
    ]);
  });

  it("names how a worker ended also when its job is tried again, and keeps one code for the others' records", () => {
    queue();
    assign();
    const code = "worker.lost";
    const first = rig.turn("lost", { job_id: job, attempt: 1, worker, reason: "killed", code });
    expect(first.events[0]?.data).toEqual({ reason: "killed", code, will_retry: true });
    assign(2, "wrk_2");
    const end = rig.turn("lost", { job_id: job, attempt: 2, worker: "wrk_2", reason: "", code });
    expect(end.puts).toMatchObject([{ value: { error: { code: "job.executor_lost" } } }]);
  });

  it("keeps the cause of a loss that overtook its job", () => {
    assign();
    rig.turn("lost", { job_id: job, attempt: 1, worker, reason: "oom", code: "worker.lost" });
    expect(queue().events[2]).toMatchObject({
      type: "job.interrupted",
      data: { reason: "oom", code: "worker.lost" },
    });
  });

  it("has a worker ended that nobody answers for, so that its next jobs do not go there too", () => {
    queue();
    const effect = assign().effects[0]?.id;
    const error = { code: "worker.lost", message: "it does not answer" };
    const lost = rig.turn("runFailed", { effect, error });
    expect(types(lost)).toEqual(["job.interrupted", "job.queued"]);
    expect(lost.tells).toMatchObject([
      { type: "condemn", payload: { worker, reason: "it does not answer" } },
      { type: "released" },
      { type: "enqueue", payload: { ticket: { attempt: 2 } } },
    ]);
  });

  it("ignores the loss of a worker that no longer has the job", () => {
    queue();
    assign();
    expect(
      rig.turn("lost", { job_id: job, attempt: 1, worker: "wrk_9", reason: "" }).events,
    ).toEqual([]);
  });

  it("fails a job whose order is refused for good, and tries one again that is refused for now", () => {
    queue();
    const first = assign().effects[0]?.id;
    const busy = rig.turn("runFailed", {
      effect: first,
      error: { code: "worker.busy", message: "full" },
    });
    expect(types(busy)).toEqual(["job.interrupted", "job.queued"]);
    expect(busy.effects).toEqual([]);
    const second = assign(2).effects[0]?.id;
    expect(
      rig.turn("runFailed", { effect: first, error: { code: "worker.lost", message: "" } }).events,
    ).toEqual([]);
    const error = { code: "agent.unavailable", message: "no such CLI" };
    expect(rig.turn("runFailed", { effect: second, error }).events).toMatchObject([
      { type: "job.failed", data: { code: "agent.unavailable", message: "no such CLI" } },
    ]);
  });

  it("does not believe a failed order once the worker's frames came", () => {
    queue();
    const effect = assign().effects[0]?.id;
    frame(1, { events: [started()] });
    const late = rig.turn("runFailed", { effect, error: { code: "ask.timeout", message: "" } });
    expect(late).toMatchObject({ events: [], effects: [], tells: [] });
  });

  it("has a silent worker ended before it gives the attempt up, and then tries again", () => {
    queue();
    assign();
    const overdue = rig.fire(`watch-${job}`);
    expect(overdue.events).toEqual([]);
    expect(overdue.tells).toMatchObject([{ type: "condemn", payload: { worker } }]);
    const lost = rig.turn("lost", { job_id: job, attempt: 1, worker, reason: "it was ended" });
    expect(types(lost)).toEqual(["job.interrupted", "job.queued"]);
  });

  it("gives the attempt up without proof only when its worker cannot be ended", () => {
    queue();
    assign();
    for (let n = 0; n < 5; n += 1) expect(rig.fire(`watch-${job}`).events).toEqual([]);
    expect(types(rig.fire(`watch-${job}`))).toEqual(["job.interrupted", "job.queued"]);
  });

  it("watches a running job past its tier's time limit", () => {
    queue();
    assign();
    const { reminders } = frame(1, { events: [started()] });
    expect(reminders).toMatchObject([{ name: `watch-${job}`, at: rig.now + 70_000 }]);
  });

  it("passes the agent's own session id on to the next job", () => {
    queue();
    assign();
    frame(1, { events: [started()], agent_session: "abc", outcome: succeeded });
    queue("job_2");
    const next = rig.turn("assign", { ticket: ticket("job_2"), worker, place });
    expect(next.effects).toMatchObject([
      { tool: "session.run-attempt", input: { agent_session: "abc" } },
    ]);
  });

  it("fails jobs of a session that has expired, was deleted, or never was", () => {
    const bare = { ticket: ticket("job_0"), prompt_preview: "" };
    expect(rig.turn("queued", bare).events[1]).toMatchObject({
      data: { code: "session.not_found" },
    });
    rig.turn("create", birth);
    rig.now += 60_001;
    const late = rig.turn("queued", { ticket: ticket(), prompt_preview: "" });
    expect(late.events[1]).toMatchObject({ type: "job.failed", data: { code: "session.expired" } });
    rig.turn("remove", { by: "ann" });
    const gone = rig.turn("queued", { ticket: ticket("job_3"), prompt_preview: "" });
    expect(gone.events[1]).toMatchObject({ data: { code: "session.deleted" } });
    expect(told(gone)).toContain("acme/user/ann finished");
  });

  it("cancels all its jobs when it is removed, and is gone for readers", () => {
    queue();
    const removed = rig.turn("remove", { by: "ann" });
    expect(types(removed)).toEqual(["job.cancelled"]);
    expect(removed.puts).toContainEqual(
      expect.objectContaining({ bucket: "sessions", mode: "patch", value: { deleted: true } }),
    );
    expect(() => rig.turn("describe")).toThrow(
      expect.objectContaining({ code: "session.deleted" }),
    );
    expect(rig.turn("remove", { by: "ann" }).events).toEqual([]);
  });

  it("describes itself, its live jobs and where their input goes", () => {
    expect(() => rig.turn("describe")).toThrow(
      expect.objectContaining({ code: "session.not_found" }),
    );
    queue();
    expect(() => rig.turn("route", { job_id: job })).toThrow(
      expect.objectContaining({ code: "job.not_running" }),
    );
    assign();
    frame(1, { events: [started()] });
    expect(rig.turn("describe").reply).toMatchObject({
      session: { last_seq: 3, active_jobs: [job], expires_at: rig.now + 60_000 },
    });
    expect(rig.turn("liveJob", { job_id: job }).reply).toMatchObject({
      job: { state: "running", worker },
    });
    expect(rig.turn("route", { job_id: job }).reply).toEqual({ worker, attempt: 1 });
    frame(2, { outcome: succeeded });
    expect(rig.turn("liveJob", { job_id: job }).reply).toEqual({ job: null });
  });

  it("stays small over many jobs", () => {
    for (let n = 0; n < 120; n += 1) {
      queue(`job_${n}`);
      rig.turn("assign", { ticket: ticket(`job_${n}`), worker, place });
      rig.turn("frame", {
        worker,
        job_id: `job_${n}`,
        attempt: 1,
        frame: 1,
        events: [],
        outcome: succeeded,
      });
    }
    expect(JSON.stringify(rig.state).length).toBeLessThan(6_000);
  });
});
