import { describe, expect, test } from "vitest";
import { RecentAnswers } from "../../../runtime/recent-answers.ts";

const KIB = 1_024;

describe("answers that are kept", () => {
  test("are given by the id of their ask", () => {
    const answers = new RecentAnswers();
    answers.add("a", new Uint8Array([1]));
    answers.add("b", new Uint8Array([2]));
    expect(answers.of("a")).toEqual(new Uint8Array([1]));
    expect(answers.of("b")).toEqual(new Uint8Array([2]));
    expect(answers.of("c")).toBeUndefined();
  });

  test("are the youngest 128 KiB at least, and never more than 256 (R7)", () => {
    const answers = new RecentAnswers();
    for (let n = 0; n < 1_000; n += 1) answers.add(`${n}`, new Uint8Array(KIB));
    const kept = Array.from({ length: 1_000 }, (_, n) => n).filter((n) => answers.of(`${n}`));
    expect(kept.at(-1)).toBe(999);
    expect(kept).toHaveLength(1_000 - (kept[0] ?? 0));
    expect(kept.length).toBeGreaterThan(100);
    expect(kept.length).toBeLessThan(256);
  });

  test("are not those that would take all the room", () => {
    const answers = new RecentAnswers();
    answers.add("small", new Uint8Array(1));
    answers.add("large", new Uint8Array(512 * KIB));
    expect(answers.of("large")).toBeUndefined();
    expect(answers.of("small")).toBeDefined();
  });
});
