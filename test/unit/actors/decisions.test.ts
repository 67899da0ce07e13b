import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs } from "../../../actors/backoff.ts";
import { decideGrants } from "../../../actors/capacity/decide-grants.ts";
import { decideIdle, usedCpu } from "../../../actors/decide-idle.ts";
import {
  afterReady,
  decideReplacement,
  type Losses,
} from "../../../actors/places/decide-replacement.ts";
import { decideScaling } from "../../../actors/places/decide-scaling.ts";
import {
  canMoveWorker,
  moveWorker,
  type WorkerPhase,
} from "../../../actors/places/worker-phase.ts";
import { decideFrame } from "../../../actors/session/decide-frame.ts";
import { decideRetry } from "../../../actors/session/decide-retry.ts";
import { decideAbsence } from "../../../actors/supervisor/decide-absence.ts";
import { canMove, moveState, WORKER_STATES } from "../../../actors/supervisor/worker-state.ts";
import { decideAdmission, quotaAt } from "../../../actors/user/decide-admission.ts";
import { decideNext } from "../../../actors/user/decide-next.ts";
import { timeLimit } from "../../../actors/user/user.ts";

describe("decideAdmission", () => {
  const limits = { jobsPerHour: 3, queuedJobs: 2, windowMs: 1_000 };
  const closed = { opened_at: null, accepted: 0 };
  const ask = { now: 5_000, window: closed, waiting: 0, knownSince: undefined };

  it("opens the window with the first accepted job, not on the clock's hour", () => {
    expect(decideAdmission(ask, limits)).toEqual({
      type: "accepted",
      window: { opened_at: 5_000, accepted: 1 },
    });
  });

  it("refuses the job past the limit and says when the window ends", () => {
    const window = { opened_at: 4_700, accepted: 3 };
    expect(decideAdmission({ ...ask, window }, limits)).toEqual({
      type: "over-quota",
      retryAfterMs: 700,
    });
  });

  it("starts anew at the very end of the window", () => {
    const window = { opened_at: 4_000, accepted: 3 };
    expect(decideAdmission({ ...ask, window }, limits)).toEqual({
      type: "accepted",
      window: { opened_at: 5_000, accepted: 1 },
    });
  });

  it("answers a known job as before, even when the quota is used up and the queue is full", () => {
    const window = { opened_at: 4_700, accepted: 3 };
    expect(decideAdmission({ ...ask, window, waiting: 9, knownSince: 42 }, limits)).toEqual({
      type: "known",
      createdAt: 42,
    });
  });

  it("refuses by the queue's bound without counting the job", () => {
    expect(decideAdmission({ ...ask, waiting: 2 }, limits)).toEqual({ type: "queue-full" });
  });

  it("never accepts more than the limit in any window, whenever jobs come", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 60 }), (gaps) => {
        let now = 0;
        let window: { opened_at: number | null; accepted: number } = closed;
        const accepted: { at: number; opened: number | null }[] = [];
        for (const gap of gaps) {
          now += gap;
          const verdict = decideAdmission({ ...ask, now, window }, limits);
          if (verdict.type !== "accepted") continue;
          window = verdict.window;
          accepted.push({ at: now, opened: window.opened_at });
        }
        for (const { opened } of accepted) {
          expect(accepted.filter((job) => job.opened === opened).length).toBeLessThanOrEqual(3);
        }
      }),
    );
  });

  it("leaves everything when no window is open", () => {
    expect(quotaAt(closed, 10, limits)).toEqual({ remaining: 3, resetMs: 0 });
  });
});

describe("decideNext", () => {
  const upTo = (limit: number) => (_job: unknown, running: number) => running < limit;
  const job = (id: string, session: string) => ({ id, session });

  it("takes jobs in order up to the concurrency", () => {
    const waiting = [job("a", "1"), job("b", "2"), job("c", "3")];
    expect(decideNext(waiting, [job("x", "9")], upTo(3)).map((j) => j.id)).toEqual(["a", "b"]);
  });

  it("holds a session's second job back and lets other sessions pass it", () => {
    const waiting = [job("a", "1"), job("b", "1"), job("c", "2")];
    expect(decideNext(waiting, [], upTo(3)).map((j) => j.id)).toEqual(["a", "c"]);
  });

  it("never runs two jobs of one session at once, nor more than allowed, and keeps each session's order", () => {
    const jobs = fc.array(fc.constantFrom("1", "2", "3", "4"), { maxLength: 20 });
    fc.assert(
      fc.property(jobs, fc.integer({ min: 1, max: 5 }), (sessions, limit) => {
        let waiting = sessions.map((session, at) => job(String(at), session));
        const ended: string[] = [];
        while (waiting.length > 0) {
          const next = decideNext(waiting, [], upTo(limit));
          expect(next.length).toBeGreaterThan(0);
          expect(next.length).toBeLessThanOrEqual(limit);
          expect(new Set(next.map((j) => j.session)).size).toBe(next.length);
          ended.push(...next.map((j) => `${j.session}:${j.id}`));
          waiting = waiting.filter((j) => !next.includes(j));
        }
        for (const session of new Set(sessions)) {
          const order = ended
            .filter((e) => e.startsWith(`${session}:`))
            .map((e) => Number(e.slice(2)));
          expect(order).toEqual(order.toSorted((a, b) => a - b));
        }
      }),
    );
  });
});

describe("timeLimit", () => {
  it.each([
    [null, null, null],
    [null, 5, 5],
    [3, null, 3],
    [9, 5, 5],
    [3, 5, 3],
  ])("of %s asked and %s allowed is %s", (asked, allowed, limit) => {
    expect(timeLimit(asked, allowed)).toBe(limit);
  });
});

describe("decideScaling", () => {
  const limits = { min: 2, max: 6 };
  const still = { queue: 0, idle: 2, starting: 0, count: 2, draining: 0 };

  it("brings the minimum up at once", () => {
    expect(decideScaling({ ...still, idle: 0, count: 0 }, limits)).toBe(2);
  });

  it("does not grow while the queue is at most twice the idle workers", () => {
    expect(decideScaling({ ...still, queue: 4 }, limits)).toBe(0);
  });

  it("grows by what the idle workers cannot take, up to the maximum", () => {
    expect(decideScaling({ ...still, queue: 5 }, limits)).toBe(3);
    expect(decideScaling({ ...still, queue: 50 }, limits)).toBe(4);
  });

  it("does not ask again for workers that are on their way", () => {
    expect(decideScaling({ ...still, idle: 0, starting: 3, count: 5, queue: 6 }, limits)).toBe(0);
  });

  it("shrinks to the minimum when the queue is under half of the idle workers", () => {
    expect(decideScaling({ ...still, idle: 6, count: 6, queue: 1 }, limits)).toBe(-4);
    expect(decideScaling({ ...still, idle: 6, count: 6, queue: 3 }, limits)).toBe(0);
  });

  it("counts workers that are going against the maximum", () => {
    const load = { queue: 9, idle: 0, starting: 0, count: 0, draining: 1 };
    expect(decideScaling(load, { min: 0, max: 1 })).toBe(0);
  });

  it("keeps between minimum and maximum whatever the load", () => {
    const count = fc.nat({ max: 20 });
    fc.assert(
      fc.property(count, count, count, count, count, (queue, idle, starting, busy, draining) => {
        const all = idle + starting + busy;
        const change = decideScaling({ queue, idle, starting, count: all, draining }, limits);
        if (change > 0) expect(all + draining + change).toBeLessThanOrEqual(limits.max);
        if (change < 0) expect(idle + change).toBeGreaterThanOrEqual(limits.min);
      }),
    );
  });
});

describe("decideIdle", () => {
  const quiet = { idleSince: 1_000, lastSign: null, signHoldsMs: 50 };

  it("lets a worker go when it was quiet for the whole time-out", () => {
    expect(decideIdle(quiet, 500, 1_500)).toEqual({ go: true });
    expect(decideIdle(quiet, 500, 1_499)).toEqual({ go: false, idleSince: 1_000, askAt: 1_500 });
  });

  it("takes a job and an attached client for activity", () => {
    expect(decideIdle({ ...quiet, idleSince: null }, 500, 9_000)).toMatchObject({
      go: false,
      idleSince: null,
    });
    expect(decideIdle({ ...quiet, lastSign: 8_980 }, 500, 9_000)).toMatchObject({
      go: false,
      idleSince: null,
    });
  });

  it("counts from the last sign, not from the last job", () => {
    expect(decideIdle({ ...quiet, lastSign: 8_000 }, 2_000, 9_000)).toEqual({
      go: false,
      idleSince: 8_000,
      askAt: 10_000,
    });
  });

  it("takes CPU above the noise for activity, and nothing from a first reading", () => {
    const before = { cpuMs: 100, at: 1_000 };
    expect(usedCpu(null, before, 0.01)).toBe(false);
    expect(usedCpu(before, { cpuMs: 105, at: 2_000 }, 0.01)).toBe(false);
    expect(usedCpu(before, { cpuMs: 150, at: 2_000 }, 0.01)).toBe(true);
  });
});

describe("decideRetry", () => {
  const lost = { attempt: 1, started: false, cancelRequested: false };

  it("tries a job again once, if its agent had not started", () => {
    expect(decideRetry(lost, 2)).toBe("retry");
    expect(decideRetry({ ...lost, attempt: 2 }, 2)).toBe("interrupted");
  });

  it("never repeats a job whose agent has started", () => {
    expect(decideRetry({ ...lost, started: true }, 2)).toBe("interrupted");
  });

  it("ends a cancelled job as cancelled, however far it was", () => {
    expect(decideRetry({ ...lost, cancelRequested: true }, 2)).toBe("cancelled");
    expect(decideRetry({ attempt: 2, started: true, cancelRequested: true }, 2)).toBe("cancelled");
  });
});

describe("decideFrame", () => {
  const frame = { job_id: "j", attempt: 1, worker: "w", frame: 4 };

  it.each([
    [2, "early"],
    [3, "apply"],
    [4, "had"],
    [5, "had"],
  ])("after frame %s of the same attempt frame 4 is %s", (had, verdict) => {
    expect(decideFrame(frame, { ...frame, frame: had }, [])).toBe(verdict);
  });

  it("refuses frames of another attempt or worker for ever", () => {
    expect(decideFrame(frame, { ...frame, attempt: 2 }, [])).toBe("superseded");
    expect(decideFrame(frame, { ...frame, worker: "other" }, [])).toBe("superseded");
    expect(decideFrame(frame, undefined, [])).toBe("superseded");
  });

  it("acknowledges the last frame of an ended attempt again, but takes nothing after it", () => {
    expect(decideFrame(frame, undefined, [frame])).toBe("had");
    expect(decideFrame({ ...frame, frame: 5 }, undefined, [frame])).toBe("superseded");
  });
});

describe("worker phases and states", () => {
  const phases: readonly WorkerPhase[] = ["cold", "starting", "idle", "busy", "draining"];

  it("never take a draining worker back, and refuse every move that the table lacks", () => {
    for (const to of ["starting", "idle", "busy"] as const) {
      expect(canMoveWorker("draining", to)).toBe(false);
    }
    for (const from of phases) {
      for (const to of phases) {
        if (canMoveWorker(from, to)) expect(moveWorker(from, to)).toBe(to);
        else expect(() => moveWorker(from, to)).toThrow(`${from} to ${to}`);
      }
    }
  });

  it("let nothing come back from gone, and refuse every move that the table lacks", () => {
    for (const from of WORKER_STATES) {
      expect(canMove("gone", from)).toBe(false);
      for (const to of WORKER_STATES) {
        if (canMove(from, to)) expect(moveState(from, to)).toBe(to);
        else expect(() => moveState(from, to)).toThrow(`${from} to ${to}`);
      }
    }
  });
});

describe("decideGrants", () => {
  const policy = { priorityOf: () => 1, agePerSecond: 1 };
  const waiting = [1, 2, 3, 4].map((n) => ({
    worker: `w${n}`,
    tier: "pro" as const,
    tenant: "t",
    user: "u",
    queued_at: n,
  }));

  it("keeps both bounds: workers in all and starts at once", () => {
    const gate = { waiting, rotation: [], held: 7, starting: 1, now: 10 };
    const names = (limits: { maxWorkers: number; maxStarts: number }) =>
      decideGrants(gate, limits, policy).granted.map((entry) => entry.worker);
    expect(names({ maxWorkers: 10, maxStarts: 3 })).toEqual(["w1", "w2"]);
    expect(names({ maxWorkers: 8, maxStarts: 9 })).toEqual(["w1"]);
    expect(names({ maxWorkers: 5, maxStarts: 9 })).toEqual([]);
  });
});

describe("decideReplacement", () => {
  const backoff = { initialMs: 100, maxMs: 1_000 };
  const none: Losses = { failures: 0, crashes: 0, crashed_at: null, held_until: 0 };
  const phases = fc.constantFrom<WorkerPhase>("starting", "idle", "busy", "draining");

  it("holds no longer than its maximum, and never for a worker that was going or had a job", () => {
    const losses = fc.array(fc.tuple(phases, fc.nat({ max: 3_000 })), { maxLength: 30 });
    fc.assert(
      fc.property(losses, (all) => {
        let past = none;
        let now = 10_000;
        for (const [phase, pause] of all) {
          now += pause;
          const next = decideReplacement(past, { phase, ready_at: now }, now, backoff);
          expect(next.held_until - now).toBeLessThanOrEqual(backoff.maxMs);
          if (phase === "busy" || phase === "draining") expect(next).toEqual(past);
          past = next;
        }
      }),
    );
  });

  it("holds ever longer for failed starts until one is up, and for deaths at rest beyond that", () => {
    const young = { phase: "starting", ready_at: null } as const;
    const past = decideReplacement(decideReplacement(none, young, 0, backoff), young, 0, backoff);
    expect(past.held_until).toBe(200);
    expect(afterReady(past)).toMatchObject({ failures: 0, held_until: 0 });
    const once = decideReplacement(none, { phase: "idle", ready_at: 10 }, 20, backoff);
    expect(afterReady(once).held_until).toBe(0);
    const again = decideReplacement(once, { phase: "idle", ready_at: 30 }, 40, backoff);
    expect(afterReady(again).held_until).toBe(140);
  });

  it("replaces at once all that died together, as when their engine was restarted", () => {
    let past = none;
    for (let n = 0; n < 10; n += 1)
      past = decideReplacement(past, { phase: "idle", ready_at: n }, 1_000 + n, backoff);
    expect(past).toMatchObject({ crashes: 1 });
    expect(past.held_until).toBeLessThanOrEqual(1_000);
  });
});

describe("decideAbsence", () => {
  it("calls nothing gone before it was absent for the whole grace, whenever it is looked at", () => {
    const gaps = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 2_000 }), (pauses, graceMs) => {
        let now = 1_000;
        let since: number | null = null;
        for (const pause of pauses) {
          const verdict = decideAbsence(since, graceMs, now);
          expect(verdict.gone).toBe(now - (since ?? now) >= graceMs);
          if (verdict.gone) return;
          expect(verdict.since).toBe(1_000);
          expect(verdict.askAt).toBe(1_000 + graceMs);
          since = verdict.since;
          now += pause;
        }
      }),
    );
  });

  it("calls gone at once what nobody has to wait for", () => {
    expect(decideAbsence(null, 0, 5)).toEqual({ gone: true });
  });
});

describe("backoffMs", () => {
  it("doubles from the first failure on, up to its maximum", () => {
    const range = { initialMs: 100, maxMs: 1_000 };
    expect([1, 2, 3, 4, 5, 99].map((n) => backoffMs(n, range))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ]);
  });
});
