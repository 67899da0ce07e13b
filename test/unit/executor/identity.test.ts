import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { formatIdentity, parseIdentity, takeIdentity } from "../../../executor/identity.ts";
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

it("an identity that comes in a file is gone once it is read, also when it is of no use", () => {
  const folder = mkdtempSync(join(tmpdir(), "berth-identity-"));
  try {
    const path = join(folder, "identity");
    writeFileSync(path, formatIdentity(identity));
    expect(takeIdentity(path)).toEqual(identity);
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, "{}");
    expect(() => takeIdentity(path)).toThrow("needs worker");
    expect(existsSync(path)).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
