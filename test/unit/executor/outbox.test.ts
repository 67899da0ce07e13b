import { describe, expect, it } from "vitest";
import { MAX_FRAME_BYTES, Outbox } from "../../../executor/outbox.ts";
import { OutputBudget } from "../../../executor/output-budget.ts";
import type { DraftEvent } from "../../../protocols/events.ts";

const output = (text: string, offset = 0, stream = "stdout"): DraftEvent => ({
  type: "agent.output",
  at: 1,
  data: { stream, text, offset },
});
const partial = (text: string): DraftEvent => ({
  type: "agent.message",
  at: 1,
  data: { role: "assistant", text, partial: true },
});

describe("the outbox", () => {
  it("makes one event of output that follows output of its stream, and keeps the first's offset", () => {
    const outbox = new Outbox();
    for (const event of [output("a", 0), output("b", 1), output("c", 0, "stderr"), output("d", 2)])
      outbox.push(event);
    expect(outbox.take().map(({ data }) => [data["text"], data["offset"]])).toEqual([
      ["ab", 0],
      ["c", 0],
      ["d", 2],
    ]);
    expect(outbox.isEmpty).toBe(true);
    expect(outbox.bytes).toBe(0);
  });

  it("makes one of deltas, but never of a delta and the whole message", () => {
    const outbox = new Outbox();
    outbox.push(partial("a"));
    outbox.push(partial("b"));
    outbox.push({ type: "agent.message", at: 1, data: { role: "assistant", text: "ab" } });
    expect(outbox.take().map(({ data }) => data["text"])).toEqual(["ab", "ab"]);
  });

  it("keeps binary output and the note of truncation apart from text", () => {
    const outbox = new Outbox();
    outbox.push(output("a"));
    outbox.push({ ...output("\uFFFD"), data: { ...output("\uFFFD").data, binary: true } });
    outbox.push({ ...output(""), data: { ...output("").data, truncated_bytes: 9 } });
    outbox.push(output("b"));
    expect(outbox.take()).toHaveLength(4);
  });

  it("fills frames up to their limit, in order, and loses nothing", () => {
    const outbox = new Outbox();
    const texts = Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(20_000, "\u0001"));
    for (const text of texts) outbox.push(output(text));
    const taken: string[] = [];
    while (!outbox.isEmpty) {
      const events = outbox.take();
      expect(Buffer.byteLength(JSON.stringify(events))).toBeLessThanOrEqual(MAX_FRAME_BYTES);
      taken.push(...events.map(({ data }) => String(data["text"])));
    }
    expect(taken.join("")).toBe(texts.join(""));
  });

  it("cuts what is too large for one event, and says by how much", () => {
    const outbox = new Outbox();
    outbox.push({
      type: "agent.tool",
      at: 1,
      data: { name: "t", phase: "result", output: { text: "x".repeat(500_000) } },
    });
    outbox.push({
      type: "agent.message",
      at: 1,
      data: { role: "assistant", text: "\u0001".repeat(500_000) },
    });
    const events = outbox.take();
    expect(Buffer.byteLength(JSON.stringify(events))).toBeLessThanOrEqual(MAX_FRAME_BYTES);
    expect(events[0]?.data["output"]).toMatchObject({ truncated: true });
    expect(String(events[1]?.data["text"])).toMatch(/characters cut\]$/);
  });
});

describe("the output budget", () => {
  const piece = (bytes: number) => ({ text: "x".repeat(bytes), offset: 0, bytes, binary: false });

  it("says once that output was dropped, and lets nothing through after that", () => {
    const budget = new OutputBudget(10);
    expect(budget.output("stdout", piece(8))).toHaveLength(1);
    expect(budget.output("stdout", piece(5))).toMatchObject([
      { event: { data: { text: "", truncated_bytes: 5 } } },
    ]);
    expect(budget.output("stderr", piece(1))).toEqual([]);
  });

  it("always lets through what is no output: session, usage, failure", () => {
    const budget = new OutputBudget(0);
    expect(budget.fact({ fact: "session", id: "s" })).toHaveLength(1);
    expect(budget.fact({ fact: "failure", message: "m" })).toHaveLength(1);
  });
});
