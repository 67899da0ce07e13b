import { beforeEach, describe, expect, it } from "vitest";
import { actorOptions } from "../../../actors/options.ts";
import { userActor } from "../../../actors/user/user.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import { type TurnRig, turnRig } from "../../support/turn.ts";

const tiers = tierTable({ pro: { concurrentJobs: 2, jobsPerHour: 5, queuedJobs: 2 } });
const self = { kind: "user", tenant: "acme", key: "ann" };
const id = (prefix: string, n: number) => `${prefix}_${String(n).padStart(26, "0")}`;

function order(n: number, session = n) {
  return {
    job: {
      id: id("job", n),
      session_id: id("ses", session),
      agent: "echo",
      tier: "pro",
      prompt: `say ${n}`,
      timeout_ms: null,
    },
    new_session: {},
  };
}

describe("a user", () => {
  let rig: TurnRig;
  beforeEach(() => {
    rig = turnRig(userActor(actorOptions({ tiers, quotaWindowMs: 1_000 })), self);
  });
  const ended = (n: number, more: object = {}) =>
    rig.turn("finished", {
      ticket: {
        job_id: id("job", n),
        session_id: id("ses", n),
        user: "ann",
        tenant: "acme",
        agent: "echo",
        tier: "pro",
        queued_at: 1,
        attempt: 1,
      },
      state: "succeeded",
      agent_ms: 10,
      input_tokens: 1,
      output_tokens: 2,
      ...more,
    });

  it("stores the job, tells its session and then its place, in this order", () => {
    const { reply, tells, puts } = rig.turn("submit", order(1));
    expect(reply).toMatchObject({
      created_at: rig.now,
      position: 0,
      limits: { hourly: { remaining: 4 } },
    });
    expect(tells.map((t) => `${t.to} ${t.type}`)).toEqual([
      `acme/session/${id("ses", 1)} queued`,
      "acme/user-worker/ann enqueue",
    ]);
    expect(tells[0]?.payload).toMatchObject({
      prompt_preview: "say 1",
      birth: { user: "ann", tier: "pro" },
    });
    expect(JSON.stringify(tells[1]?.payload)).not.toContain("say 1");
    expect(puts).toMatchObject([
      {
        bucket: "jobs",
        key: `acme.ann.${id("job", 1)}`,
        mode: "create",
        value: { state: "queued", prompt: "say 1", timeout_ms: 1_800_000 },
      },
    ]);
  });

  it("takes the same job id once and answers it the same, also after the job has ended", () => {
    const first = rig.turn("submit", order(1));
    rig.now += 50;
    const again = rig.turn("submit", order(1));
    expect(again.tells).toEqual([]);
    expect(again.reply).toMatchObject({
      created_at: (first.reply as { created_at: number }).created_at,
    });
    ended(1);
    const late = rig.turn("submit", order(1));
    expect(late.tells).toEqual([]);
    expect(late.reply).toMatchObject({ limits: { hourly: { remaining: 4 } } });
  });

  it("offers as many jobs as may run at once and the next one when one has finished", () => {
    rig.turn("submit", order(1));
    rig.turn("submit", order(2));
    const third = rig.turn("submit", order(3));
    expect(third.tells.map((t) => t.type)).toEqual(["queued"]);
    expect(rig.turn("submit", order(4)).reply).toMatchObject({ position: 1 });
    expect(ended(2).tells).toMatchObject([
      { type: "enqueue", payload: { ticket: { job_id: id("job", 3) } } },
    ]);
  });

  it("runs one job of a session at a time", () => {
    rig.turn("submit", order(1, 7));
    expect(rig.turn("submit", order(2, 7)).tells.map((t) => t.type)).toEqual(["queued"]);
    expect(ended(1).tells).toMatchObject([
      { type: "enqueue", payload: { ticket: { job_id: id("job", 2) } } },
    ]);
  });

  it("refuses past the hourly limit and accepts again when the window has passed", () => {
    for (const n of [1, 2, 3, 4]) {
      rig.turn("submit", order(n));
      ended(n);
    }
    rig.turn("submit", order(5));
    expect(() => rig.turn("submit", order(6))).toThrow(
      expect.objectContaining({ code: "quota.hourly", retryAfterMs: 1_000 }),
    );
    expect(rig.turn("limits", { tier: "pro" }).reply).toMatchObject({
      limits: { hourly: { limit: 5, remaining: 0, reset_ms: 1_000 }, concurrent: { running: 1 } },
    });
    rig.now += 1_000;
    expect(rig.turn("submit", order(6)).reply).toMatchObject({
      limits: { hourly: { remaining: 4 } },
    });
  });

  it("refuses when its queue is full", () => {
    for (const n of [1, 2, 3, 4]) rig.turn("submit", order(n));
    expect(() => rig.turn("submit", order(5))).toThrow(
      expect.objectContaining({ code: "quota.queue_full" }),
    );
  });

  it("takes a cancelled job out of the queue at once and leaves the rest to its session", () => {
    for (const n of [1, 2, 3]) rig.turn("submit", order(n));
    const waiting = rig.turn("cancelJob", { job_id: id("job", 3), by: "ann" });
    expect(waiting.reply).toEqual({ found: true });
    expect(waiting.tells).toMatchObject([{ to: `acme/session/${id("ses", 3)}`, type: "cancel" }]);
    expect(ended(1).tells).toEqual([]);
    expect(rig.turn("cancelJob", { job_id: id("job", 2), by: "ann" }).tells).toMatchObject([
      { type: "cancel" },
    ]);
    expect(rig.turn("cancelJob", { job_id: id("job", 9), by: "ann" }).reply).toEqual({
      found: false,
    });
    ended(3, { state: "cancelled" });
    expect(rig.turn("active").reply).toMatchObject({
      jobs: [{ job_id: id("job", 2), waiting: false }],
    });
  });

  it("keeps a job that a full place gave back and offers it again after the pause, in order", () => {
    rig.turn("submit", order(1));
    rig.turn("submit", order(2));
    rig.turn("submit", order(3));
    const ticket = {
      ...order(1).job,
      job_id: id("job", 1),
      user: "ann",
      tenant: "acme",
      queued_at: 1,
      attempt: 1,
    };
    const back = rig.turn("deferred", { ticket, after_ms: 500 });
    expect(back.tells).toEqual([]);
    expect(ended(2).tells).toEqual([]);
    const offered = rig.fire("offer").tells.map((t) => t.payload["ticket"]);
    expect(offered).toMatchObject([{ job_id: id("job", 1) }, { job_id: id("job", 3) }]);
  });

  it("adds up what its jobs used", () => {
    rig.turn("submit", order(1));
    ended(1);
    ended(2, { state: "failed" });
    expect(rig.turn("usage").reply).toEqual({
      usage: {
        jobs: { succeeded: 1, failed: 1 },
        agent_ms: 20,
        input_tokens: 2,
        output_tokens: 4,
        since: rig.now,
      },
    });
  });

  it("cuts no character of the preview in half", () => {
    const long = order(1);
    long.job.prompt = `${"a".repeat(119)}😀`;
    const [queued] = rig.turn("submit", long).tells;
    expect(queued?.payload["prompt_preview"]).toBe("a".repeat(119));
  });
});
