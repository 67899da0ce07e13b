import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideTenant, type Principal } from "../../../gateway/auth/principal.ts";
import { decidePattern } from "../../../gateway/auth/scopes.ts";
import { streamTokenOf, tokenOf } from "../../../gateway/auth/tokens.ts";
import { isFresh } from "../../../gateway/fresh.ts";
import { decideIdempotency, fingerprintOf, isFinal } from "../../../gateway/idempotency.ts";
import { paginate } from "../../../gateway/listing.ts";
import { toProblem } from "../../../gateway/problem.ts";
import { rateHeaders, retryAfterHeader } from "../../../gateway/rate-headers.ts";
import { decideSlow } from "../../../gateway/reader/outlet.ts";
import {
  decideArrival,
  decideGap,
  decidePageCount,
  decideRevision,
  decideStep,
} from "../../../gateway/reader/splice.ts";
import { decideShow } from "../../../gateway/sse.ts";
import { parseFrame } from "../../../gateway/stream/parse-frame.ts";
import { decideTimeout, titleOf } from "../../../gateway/submission.ts";
import { BerthError, ERROR_TABLE, type ErrorCode } from "../../../protocols/errors.ts";
import type { SessionEvent } from "../../../protocols/events.ts";

describe("problems", () => {
  it("of every code carry its status, and say whether trying again helps", () => {
    for (const code of Object.keys(ERROR_TABLE) as ErrorCode[]) {
      const problem = toProblem(new BerthError(code), "req_1");
      expect(problem.status).toBe(ERROR_TABLE[code].status);
      expect(problem.retryable).toBe(ERROR_TABLE[code].retry !== "never");
      expect("retry_after_ms" in problem).toBe(problem.retryable);
    }
  });
});

describe("rate headers", () => {
  it("round time up, so that nobody comes back too early, and never go below zero", () => {
    const limits = {
      tier: "free" as const,
      hourly: { limit: 10, remaining: -1, reset_ms: 1_001 },
      concurrent: { limit: 1, running: 0 },
      queued: { limit: 10, waiting: 0 },
    };
    expect(rateHeaders(limits).ratelimit).toBe('"hourly";r=0;t=2');
    expect(retryAfterHeader(1)).toBe("1");
    expect(retryAfterHeader(1_200)).toBe("2");
  });
});

describe("an idempotency key", () => {
  const entry = { fingerprint: "a", seed: "s", until: 100 };
  const answer = { status: 202, body: "{}" };
  it("replays what is answered, refuses what runs, takes over what was left behind", () => {
    expect(decideIdempotency({ ...entry, answer }, "a", 0)).toEqual({ do: "replay", answer });
    expect(decideIdempotency(entry, "a", 99).do).toBe("refuse");
    expect(decideIdempotency(entry, "a", 100)).toEqual({ do: "take-over" });
  });
  it("with another request is a mismatch, whatever became of the first", () => {
    for (const known of [entry, { ...entry, answer }]) {
      const verdict = decideIdempotency(known, "b", 1_000);
      expect(verdict.do === "refuse" && verdict.error.code).toBe("idempotency.mismatch");
    }
  });
  it("keeps final answers only", () => {
    expect([200, 202, 404, 422].every(isFinal)).toBe(true);
    expect([429, 500, 503, 504].some(isFinal)).toBe(false);
  });
  it("tells methods, paths and bodies apart", () => {
    const prints = [
      fingerprintOf("POST", "/a", { x: 1 }),
      fingerprintOf("POST", "/b", { x: 1 }),
      fingerprintOf("PUT", "/a", { x: 1 }),
      fingerprintOf("POST", "/a", { x: 2 }),
      fingerprintOf("POST", "/a", undefined),
    ];
    expect(new Set(prints).size).toBe(prints.length);
  });
});

describe("credentials", () => {
  it("come from headers or the subprotocol, and only well formed", () => {
    expect(tokenOf({ authorization: "Bearer abc" })).toBe("abc");
    expect(tokenOf({ "x-api-key": "abc" })).toBe("abc");
    expect(tokenOf({})).toBeUndefined();
    expect(() => tokenOf({ authorization: "Basic abc" })).toThrow(BerthError);
    expect(streamTokenOf({ "sec-websocket-protocol": "berth.v1, berth.bearer.abc" })).toBe("abc");
    expect(() => tokenOf({ "x-api-key": "x".repeat(10_000) })).toThrow(BerthError);
  });
  it("let only operators name another tenant, or none", () => {
    const user: Principal = {
      tenant: "a",
      user: "u",
      scope: "tenant_admin",
      keyHash: undefined,
      expiresAt: null,
    };
    const operator: Principal = { ...user, tenant: null, scope: "operator" };
    expect(decideTenant(user, undefined)).toBe("a");
    expect(() => decideTenant(user, "b")).toThrow("only operators");
    expect(decideTenant(operator, "b")).toBe("b");
    expect(decideTenant(operator, undefined)).toBeUndefined();
    expect(decidePattern(user, "jobs", undefined)).toBe("a.*.*");
    expect(decidePattern({ ...user, scope: "user" }, "jobs", "a", "x")).toBe("a.u.x");
    expect(decidePattern(operator, "jobs", undefined, "x")).toBe("*.*.x");
    expect(decidePattern(operator, "jobs", "b")).toBe("b.*.*");
  });
});

describe("the splice of history and live events", () => {
  it("ignores what it had, appends what follows, restarts after a hole", () => {
    expect(decideArrival(undefined, { first: 4, last: 6 })).toBe("restart");
    expect(decideArrival(6, { first: 4, last: 6 })).toBe("ignore");
    expect(decideArrival(6, { first: 7, last: 9 })).toBe("append");
    expect(decideArrival(6, { first: 5, last: 9 })).toBe("append");
    expect(decideArrival(6, { first: 8, last: 9 })).toBe("restart");
  });
  it("reads the journal whenever the tail does not hold the next event", () => {
    const tail = { first: 5, last: 9 };
    expect(decideStep({ cursor: 4, verified: true, tail })).toBe("tail");
    expect(decideStep({ cursor: 3, verified: true, tail })).toBe("journal");
    expect(decideStep({ cursor: 9, verified: true, tail })).toBe("wait");
    expect(decideStep({ cursor: 9, verified: false, tail })).toBe("journal");
    expect(decideStep({ cursor: 0, verified: true, tail: undefined })).toBe("wait");
    expect(decideStep({ cursor: 99, verified: true, tail })).toBe("wait");
  });
  it("calls a gap what is missing, and nothing else", () => {
    expect(decideGap(0, 1)).toBeUndefined();
    expect(decideGap(0, 5)).toEqual({ oldest: 5 });
    expect(decideGap(4, 5)).toBeUndefined();
  });
  it("never starts behind the event it looks for", () => {
    const marks = fc.uniqueArray(fc.integer({ min: 1, max: 1_000 }), { maxLength: 64 });
    fc.assert(
      fc.property(marks, fc.integer({ min: 0, max: 1_200 }), (firsts, cursor) => {
        const index = firsts
          .toSorted((a, b) => a - b)
          .map((seq): [number, number] => [seq, seq * 10]);
        const revision = decideRevision(index, cursor);
        expect(revision).toBeLessThanOrEqual((cursor + 1) * 10);
        const skipped = index.filter(([seq]) => seq * 10 < revision).map(([seq]) => seq);
        for (const seq of skipped) expect(seq).toBeLessThanOrEqual(cursor + 1);
      }),
    );
  });
  it("keeps one reading near a megabyte", () => {
    expect(decidePageCount(16, 10_000)).toBe(32);
    expect(decidePageCount(128, 10_000)).toBe(128);
    expect(decidePageCount(16, 4 * 1024 ** 2)).toBe(8);
    expect(decidePageCount(4, 4 * 1024 ** 2)).toBe(4);
  });
});

describe("a slow reader", () => {
  it("is cut when it made no real progress, not when it takes what it gets", () => {
    expect(decideSlow(1_000, 1_000, 100)).toBe(true);
    expect(decideSlow(1_000, 900, 100)).toBe(true);
    expect(decideSlow(1_000, 400, 100)).toBe(false);
    expect(decideSlow(1_000, 50, 100)).toBe(false);
  });
});

describe("a stream of one job", () => {
  const event = (type: SessionEvent["type"], job_id: string | null, seq = 1, data = {}) => ({
    id: "e",
    seq,
    type,
    time: "",
    session_id: "s",
    job_id,
    data,
  });
  it("shows that job and gaps, and ends with its last event", () => {
    const view = { jobId: "j" };
    expect(decideShow(view, event("agent.output", "j"))).toEqual({ show: true, end: false });
    expect(decideShow(view, event("job.succeeded", "k"))).toEqual({ show: false, end: false });
    expect(decideShow(view, event("session.gap", null))).toEqual({ show: true, end: false });
    expect(decideShow(view, event("job.failed", "j"))).toEqual({ show: true, end: true });
    const again = event("job.interrupted", "j", 1, { will_retry: true });
    expect(decideShow(view, again)).toEqual({ show: true, end: false });
  });
  it("that is over ends where the log was", () => {
    expect(decideShow({ jobId: "j", until: 3 }, event("agent.output", "k", 3))).toEqual({
      show: false,
      end: true,
    });
  });
});

describe("frames", () => {
  it("that cannot be read are errors, never exceptions, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.boolean(), (bytes, binary) => {
        expect(parseFrame(Buffer.from(bytes), binary).ok).toBe(false);
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(typeof parseFrame(Buffer.from(JSON.stringify(value)), false).ok).toBe("boolean");
      }),
    );
  });
  it("are answered under their ref even when refused", () => {
    const parsed = parseFrame(Buffer.from('{"type":"cancel","ref":"r","job_id":"*"}'), false);
    expect(parsed).toMatchObject({ ok: false, ref: "r", error: { code: "request.invalid" } });
  });
});

describe("small rules", () => {
  it("cut a time limit to the tier's, and leave it where the tier has none", () => {
    expect(decideTimeout(undefined, 5)).toBe(5);
    expect(decideTimeout(9, 5)).toBe(5);
    expect(decideTimeout(3, 5)).toBe(3);
    expect(decideTimeout(9, null)).toBe(9);
    expect(decideTimeout(undefined, null)).toBeNull();
  });
  it("page without leaving out or repeating, for any page size", () => {
    const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 30 });
    fc.assert(
      fc.property(ids, fc.integer({ min: 1, max: 7 }), (names, limit) => {
        const items = names.map((id) => ({ id }));
        const seen: string[] = [];
        let after: string | undefined;
        for (;;) {
          const page = paginate(items, { limit, after });
          seen.push(...page.data.map(({ id }) => id));
          if (page.next === null) break;
          after = page.next;
        }
        expect(new Set(seen)).toEqual(new Set(names));
        expect(seen.length).toBe(names.length);
      }),
    );
  });
  it("take only young ids for fresh", () => {
    const id = "job_01J00000000000000000000000";
    const made = 1_718_000_000_000;
    expect(isFresh(id, made + 10 ** 12, 2_000)).toBe(false);
  });
});

describe("a session that a job starts", () => {
  it.each([
    ["fix the tests", "fix the tests"],
    ["\n\n  fix\tit \n then more", "fix it"],
    ["#!/bin/sh\necho hello", "echo hello"],
    ["\u001b[31mred", "[31mred"],
    ["x".repeat(200), `${"x".repeat(79)}…`],
    [`${"y".repeat(78)}\u{1f600}z`, `${"y".repeat(78)}…`],
    ["\n \n", undefined],
  ])("%j is called %j", (prompt, title) => expect(titleOf(prompt)).toBe(title));
});
