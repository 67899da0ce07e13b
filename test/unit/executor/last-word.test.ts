import { describe, expect, it } from "vitest";
import { lastWord } from "../../../executor/drivers/last-word.ts";
import { lineLogger } from "../../../executor/log.ts";

describe("a worker's last word", () => {
  it("is the sentence of its last line, with the reason that it gives", () => {
    let text = "";
    const log = lineLogger(
      (line) => {
        text += line;
      },
      () => 1,
      { worker: "wrk_1" },
    );
    log.info({ job: "job_1" }, "attempt over");
    expect(lastWord(text)).toBe("attempt over");
    log.info({ reason: "no node has answered for too long" }, "worker ended");
    expect(lastWord(text)).toBe("worker ended: no node has answered for too long");
    log.error({ error: "no space" }, "the worker failed");
    expect(lastWord(text)).toBe("the worker failed: no space");
  });

  it("is the last line as it is where that is none of its log's", () => {
    expect(lastWord("first\nKilled\n")).toBe("Killed");
    expect(lastWord('a\n{"msg":1}\n')).toBe('{"msg":1}');
    expect(lastWord("null\n")).toBe("null");
    expect(lastWord("")).toBe("");
    expect(lastWord("x".repeat(1_000))).toHaveLength(300);
  });
});
