import { expect, it } from "vitest";
import { formatIdentity, parseIdentity } from "../../../executor/identity.ts";
import type { WorkerIdentity } from "../../../protocols/executor.ts";

const identity: WorkerIdentity = {
  worker: "wrk_1",
  nats_url: "nats://user:secret@10.212.0.1:14222",
  partitions: 16,
  slots: 3,
  tier: "pro",
  workspace_mode: "user",
};

it("an identity is one line and comes back as it was", () => {
  const line = formatIdentity(identity);
  expect(line.indexOf("\n")).toBe(line.length - 1);
  expect(parseIdentity(line)).toEqual(identity);
});

it.each(Object.keys(identity))("an identity without %s is refused by its name", (name) => {
  const { [name as keyof WorkerIdentity]: _, ...rest } = identity;
  expect(() => parseIdentity(JSON.stringify(rest))).toThrow(`needs ${name}`);
});

it("what is no JSON is refused without saying what it was: it may hold the credential", () => {
  expect(() => parseIdentity('"nats://user:secret@x"')).toThrow(/^(?!.*secret)/);
  expect(() => parseIdentity("nats://user:secret@x")).toThrow(/^(?!.*secret)/);
});
