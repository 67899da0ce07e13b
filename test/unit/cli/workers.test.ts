import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import { renderFacts } from "../../../deploy/cli/facts.ts";
import { waitText } from "../../../deploy/cli/job.ts";
import { plainLines } from "../../../deploy/cli/terminal.ts";
import { factsOf } from "../../../deploy/cli/worker.ts";
import {
  cpuText,
  dormantText,
  idleText,
  isUnrated,
  memoryText,
} from "../../../deploy/cli/workers.ts";
import type { WholeWorker } from "../../../protocols/api-operators.ts";

const GIB = 1024 ** 3;
const NOW = Date.parse("2026-01-01T00:10:00.000Z");
const at = (minute: number) => `2026-01-01T00:${String(minute).padStart(2, "0")}:00.000Z`;

const worker: WholeWorker = {
  id: "wrk_1",
  tenant: "acme",
  user: "ann",
  agent: null,
  tier: "pro",
  phase: "idle",
  step: null,
  slots: 3,
  jobs: [],
  host: "n1",
  driver: "docker",
  image: "berth-executor:1",
  cpus_used: 0.4249,
  cpus_limit: 2,
  memory_bytes: 212 * 1024 ** 2,
  memory_limit_bytes: 2 * GIB,
  processes: 5,
  created_at: at(1),
  ready_at: at(2),
  idle_since: at(5),
  idle_deadline: at(20),
  workspace: "user",
  network: "user",
  internet: true,
  storage_limit_bytes: 10 * GIB,
  processes_limit: 1_024,
  unanswered: [],
};

describe("a worker in a table", () => {
  test("shows what it uses of what it may use, or what it uses where nothing holds it", () => {
    expect(cpuText(worker)).toBe("0.42/2");
    expect(memoryText(worker)).toBe("212 MiB/2.0 GiB");
    expect(memoryText({ ...worker, memory_limit_bytes: null })).toBe("212 MiB");
    const unseen = { ...worker, cpus_used: null, memory_bytes: null };
    expect([cpuText(unseen), memoryText(unseen)]).toEqual(["-", "-"]);
  });

  test("is read again when it was measured once, not when nobody measures it", () => {
    expect(isUnrated({ ...worker, cpus_used: null })).toBe(true);
    expect(isUnrated(worker)).toBe(false);
    expect(isUnrated({ cpus_used: null, memory_bytes: null })).toBe(false);
  });

  test("shows how long it stays when nothing happens", () => {
    expect(idleText(worker, NOW)).toBe("10m");
    expect(idleText(worker, NOW + 3_600_000)).toBe("0ms");
    expect(idleText({ ...worker, idle_deadline: null }, NOW)).toBe("stays");
    expect(idleText({ ...worker, phase: "busy" }, NOW)).toBe("-");
    expect(idleText({ ...worker, idle_since: null }, NOW)).toBe("-");
  });

  test("that is dormant is counted by tier", () => {
    expect(dormantText({ free: 1, pro: 2, enterprise: 0 })).toBe("1 free, 2 pro");
    expect(dormantText({})).toBe("");
  });
});

describe("one worker, as facts", () => {
  test("says what it does, uses and may use", () => {
    const text = renderFacts(factsOf(worker, NOW));
    for (const line of [
      /^worker +wrk_1$/m,
      /^state +idle$/m,
      /^serves +acme\/ann \(pro\)$/m,
      /^host +n1, driver docker$/m,
      /^image +berth-executor:1$/m,
      /^cpu +0\.42\/2$/m,
      /^memory +212 MiB\/2\.0 GiB$/m,
      /^processes +5, at most 1024$/m,
      /^workspace +user, at most 10 GiB$/m,
      /^network +user, leads out directly$/m,
      /^idle since +.*\(5m ago\)$/m,
      /^idle left +10m$/m,
    ])
      expect(text).toMatch(line);
    expect(text).not.toContain("no answer");
  });

  test("says where its start is, and which host did not answer", () => {
    const starting: WholeWorker = {
      ...worker,
      phase: "starting",
      step: "creating",
      host: null,
      ready_at: null,
      idle_since: null,
      jobs: ["job_1"],
      unanswered: ["n2"],
    };
    const text = renderFacts(factsOf(starting, NOW));
    expect(text).toMatch(/^state +starting, creating$/m);
    expect(text).toMatch(/^host +no host yet$/m);
    expect(text).toMatch(/^job +job_1$/m);
    expect(text).toMatch(/^no answer +from n2/m);
  });
});

describe("a worker's log", () => {
  test("keeps its lines and cannot repaint the screen", () => {
    const said = plainLines("one\n  two\t3\u001b[2J\u001b]0;title\u0007\r\n\u202efour");
    expect(said).toBe(stripVTControlCharacters(said));
    expect(said).not.toMatch(/(?![\n\t])\p{Cc}|\p{Bidi_Control}/u);
    expect(said.split("\n").slice(0, 2)).toEqual(["one", "  two\t3"]);
    expect(said.endsWith("four\n")).toBe(true);
  });
});

describe("what a job waits for", () => {
  test("is said in words, with the step where it is known", () => {
    const wait = { id: "job_1", state: "queued", waits_on: "worker", step: null } as const;
    expect(waitText(wait)).toBe("its worker to start");
    expect(waitText({ ...wait, step: "creating" })).toBe("its worker to start (creating)");
    expect(waitText({ ...wait, waits_on: null })).toBeNull();
  });
});
