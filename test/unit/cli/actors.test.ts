import { describe, expect, test } from "vitest";
import { factsOf } from "../../../deploy/cli/actor.ts";
import { stateText } from "../../../deploy/cli/actors.ts";
import { renderFacts } from "../../../deploy/cli/facts.ts";
import type { ApiActor } from "../../../protocols/api-operators.ts";
import type { ApiActivation } from "../../../protocols/inspection.ts";

const until = "2026-01-01T00:00:00.000Z";

describe("what an actor waits on, in one line", () => {
  test.each<[ApiActivation["state"], string]>([
    [{ type: "idle" }, "idle"],
    [{ type: "handling", message: "add" }, "handling add"],
    [{ type: "committing", message: "add", turns: 1 }, "committing add"],
    [{ type: "committing", message: "add", turns: 4 }, "committing add and 3 more"],
    [{ type: "publishing", left: 2, to: "acme/user/u1" }, "publishing 2 to acme/user/u1"],
    [
      { type: "backoff", until, attempts: 2, code: "actor.failed" },
      `backoff until ${until}, 2 tries, actor.failed`,
    ],
    [{ type: "reading-mail", left: 9 }, "reading-mail 9 left"],
    [{ type: "waiting-for-mail", lane: "user", seq: 7 }, "waiting-for-mail user 7"],
    [{ type: "parked", code: "quota", reason: "spent" }, "parked by quota: spent"],
    [
      { type: "stopped", code: "x", reason: "broken", until },
      `stopped until ${until} by x: broken`,
    ],
    [{ type: "effects", tools: ["a", "b"] }, "effects a, b"],
    [{ type: "levitating" }, "levitating"],
  ])("%j", (state, text) => {
    expect(stateText(state)).toBe(text);
  });
});

describe("one actor, as facts", () => {
  const actor: ApiActor = {
    tenant: "acme",
    kind: "session",
    key: "s1",
    partition: 3,
    owner: "n1",
    active: {
      tenant: "acme",
      kind: "session",
      key: "s1",
      node: "n1",
      partition: 3,
      epoch: 5,
      state: { type: "committing", message: "frame", turns: 1 },
      for_ms: 4_200,
      mailbox: { control: 1, user: 2, asks: 0 },
      waiting: 3,
      oldest_waiting_ms: 61_000,
      turns: 9,
      revision: 77,
      effects: [{ id: "e1", tool: "session.run-attempt", for_ms: 500 }],
      last_error: { code: "broker.unavailable", message: "away", at: until },
    },
    record: {
      revision: 77,
      journaled: true,
      epoch: 5,
      writer: "w",
      commit: 9,
      cursor: { user: 12 },
      outbox: [{ op: "tell finished", to: "acme/user/u1" }],
      effects: [],
      reminders: ["watch"],
      heard: 2,
      last_seq: 40,
      standing: null,
    },
  };

  test("say what it does, what waits, and what it has stored", () => {
    const text = renderFacts(factsOf(actor));
    expect(text).toMatch(/^actor +acme\/session\/s1\n/);
    for (const line of [
      /^state +committing frame, for 4\.2s$/m,
      /^waiting +1 control, 2 user, the oldest for 1m 1s$/m,
      /^effect +session\.run-attempt for 500ms \(e1\)$/m,
      /^last error +broker\.unavailable: away/m,
      /^record +page of the journal, revision 77$/m,
      /^cursor +user 12$/m,
      /^outbox +tell finished to acme\/user\/u1$/m,
      /^reminders +watch$/m,
      /^last event +40$/m,
    ]) {
      expect(text).toMatch(line);
    }
    expect(text).not.toContain("own state");
  });

  test("say so when it is not in memory, and show its state when it was asked for", () => {
    const { record } = actor;
    const stored = record && { ...record, state: { total: 1 } };
    const text = renderFacts(factsOf({ ...actor, owner: null, active: null, record: stored }));
    expect(text).toMatch(/^owner +nobody answers, partition 3$/m);
    expect(text).toMatch(/^in memory +no$/m);
    expect(text).toMatch(/^own state +\{\n +"total": 1\n +\}$/m);
    expect(renderFacts(factsOf({ ...actor, active: null, record: null }))).toMatch(
      /^record +none$/m,
    );
  });

  test("cannot move the cursor of a terminal", () => {
    expect(renderFacts([["a", "\u001b[2Jx"]])).toBe("a  x\n");
  });
});
