import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { withDebianProgram } from "../../../deploy/nats/debian-package.ts";

function hasApt(): boolean {
  try {
    execFileSync("apt-get", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function machine(sources: string) {
  const dir = await mkdtemp(join(tmpdir(), "berth-apt-"));
  mkdirSync(join(dir, "etc", "apt"), { recursive: true });
  writeFileSync(join(dir, "etc", "apt", "sources.list"), sources);
  return {
    etcDir: join(dir, "etc"),
    cacheDir: join(dir, "cache"),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

it.skipIf(!hasApt())(
  "a mirror that does not answer is the reason given, and nothing is left in the cache",
  async () => {
    // Port 9 is discard: nothing listens there.
    await using here = await machine("deb http://127.0.0.1:9/debian bookworm main\n");
    let taken = false;
    const reason = await withDebianProgram(
      { program: "nats-server", ...here },
      () => {},
      () => {
        taken = true;
        return Promise.resolve();
      },
    );
    expect(reason).toMatch(/^apt-get update failed: E: .*127\.0\.0\.1/);
    expect(taken).toBe(false);
    expect(readdirSync(here.cacheDir)).toEqual([]);
  },
);

it("a machine without a source of packages is told so, without a call of apt", async () => {
  await using here = await machine("# nothing\n");
  const lines: string[] = [];
  const reason = await withDebianProgram(
    { program: "nats-server", ...here },
    (line) => lines.push(line),
    () => Promise.resolve(),
  );
  expect(reason).toBe("apt names no mirror of a distribution");
  expect(lines).toEqual([]);
});
