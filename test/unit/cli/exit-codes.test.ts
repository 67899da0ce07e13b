import { describe, expect, test } from "vitest";
import { EXIT, exitCodeOfError, exitCodeOfJob } from "../../../deploy/cli/exit-codes.ts";
import { BerthError, ERROR_TABLE, type ErrorCode } from "../../../protocols/errors.ts";

describe("exit code of an error", () => {
  test.each<[ErrorCode, number]>([
    ["auth.missing", EXIT.auth],
    ["auth.forbidden", EXIT.auth],
    ["tenant.suspended", EXIT.auth],
    ["job.not_found", EXIT.notFound],
    ["session.expired", EXIT.notFound],
    ["quota.hourly", EXIT.quota],
    ["quota.model", EXIT.quota],
    ["request.rate_limited", EXIT.quota],
    ["broker.unavailable", EXIT.transient],
    ["ask.timeout", EXIT.transient],
    ["job.timed_out", EXIT.timeout],
    ["request.invalid", EXIT.usage],
    ["agent.unknown", EXIT.usage],
    ["config.invalid", EXIT.usage],
    ["internal.unexpected", EXIT.jobFailed],
  ])("%s is %i", (code, exit) => {
    expect(exitCodeOfError(new BerthError(code))).toBe(exit);
  });

  test("every code of the table has one of the documented exit codes, and none is success", () => {
    const known = new Set<number>(Object.values(EXIT));
    for (const code of Object.keys(ERROR_TABLE) as ErrorCode[]) {
      const exit = exitCodeOfError(new BerthError(code));
      expect(known, code).toContain(exit);
      expect(exit, code).not.toBe(EXIT.ok);
    }
  });
});

describe("exit code of a job", () => {
  test("a failed job passes its own code on", () => {
    expect(exitCodeOfJob("failed", 7)).toBe(7);
  });

  test.each([null, 0, -1, 256])("a failed job is never taken for a success (%s)", (code) => {
    expect(exitCodeOfJob("failed", code)).toBe(EXIT.jobFailed);
  });

  test("cancelled, interrupted and timed out have codes of their own", () => {
    expect(exitCodeOfJob("cancelled", 143)).toBe(EXIT.interrupted);
    expect(exitCodeOfJob("interrupted", null)).toBe(EXIT.interrupted);
    expect(exitCodeOfJob("timed_out", null)).toBe(EXIT.timeout);
    expect(exitCodeOfJob("succeeded", 0)).toBe(EXIT.ok);
  });
});
