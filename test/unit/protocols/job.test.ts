import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  canMove,
  isTerminal,
  JOB_STATES,
  type JobState,
  jobKey,
  MAX_METADATA_ENTRIES,
  metadataSchema,
  moveJob,
  TERMINAL_STATES,
} from "../../../protocols/job.ts";

const state = fc.constantFrom(...JOB_STATES);

describe("job states", () => {
  it("the usual life is allowed", () => {
    const life: JobState[] = ["queued", "starting", "running", "succeeded"];
    for (const [index, to] of life.slice(1).entries()) {
      expect(moveJob(life[index]!, to)).toBe(to);
    }
  });

  it("a terminal state is final: nothing follows it, not even itself", () => {
    for (const from of TERMINAL_STATES) {
      expect(isTerminal(from)).toBe(true);
      for (const to of JOB_STATES) expect(canMove(from, to), `${from} to ${to}`).toBe(false);
    }
  });

  it("a job that has not ended can always be cancelled and always fail", () => {
    for (const from of ["queued", "starting", "running"] as const) {
      expect(isTerminal(from)).toBe(false);
      expect(canMove(from, "cancelled")).toBe(true);
      expect(canMove(from, "failed")).toBe(true);
      expect(canMove(from, "interrupted")).toBe(true);
    }
  });

  it("a job that waits has not run: it neither succeeds nor passes its limit", () => {
    expect(canMove("queued", "succeeded")).toBe(false);
    expect(canMove("queued", "timed_out")).toBe(false);
    expect(canMove("queued", "running")).toBe(false);
  });

  it("no walk passes two terminal states", () => {
    fc.assert(
      fc.property(fc.array(state, { maxLength: 30 }), (wishes) => {
        let now: JobState = "queued";
        let ends = 0;
        for (const wish of wishes) {
          if (!canMove(now, wish)) continue;
          now = wish;
          if (isTerminal(now)) ends += 1;
        }
        expect(ends).toBeLessThanOrEqual(1);
      }),
    );
  });

  it("a move that is not in the table is our mistake and says which", () => {
    expect(() => moveJob("succeeded", "running")).toThrow(
      expect.objectContaining({
        code: "internal.unexpected",
        message: expect.stringContaining("from succeeded to running"),
      }),
    );
  });
});

describe("job records", () => {
  it("are kept under tenant, user and job, so that a prefix lists a user's", () => {
    expect(jobKey("acme", "ann", "job_1")).toBe("acme.ann.job_1");
  });

  it("metadata is bounded in entries and in length", () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"]));
    expect(metadataSchema.safeParse(many(MAX_METADATA_ENTRIES)).success).toBe(true);
    expect(metadataSchema.safeParse(many(MAX_METADATA_ENTRIES + 1)).success).toBe(false);
    expect(metadataSchema.safeParse({ k: "v".repeat(513) }).success).toBe(false);
    expect(metadataSchema.safeParse({ ["k".repeat(65)]: "v" }).success).toBe(false);
    expect(metadataSchema.safeParse({ "": "v" }).success).toBe(false);
  });
});
