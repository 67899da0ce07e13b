import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cachedServer, findNatsServer } from "../../../deploy/nats/find-server.ts";
import { isNewEnough, tryParseServerVersion } from "../../../deploy/nats/server-version.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "berth-find-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** A program that says it is a nats-server of this version. */
function fake(path: string, version: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** An archive laid out as releases are; its URL and checksum. */
function archive(version: string): { url: string; sha256: string } {
  fake(join(dir, "pack", `nats-server-v${version}`, "nats-server"), version);
  const file = join(dir, "release.tar.gz");
  execFileSync("tar", ["-czf", file, "-C", join(dir, "pack"), "."]);
  const sha256 = createHash("sha256").update(readFileSync(file)).digest("hex");
  return { url: pathToFileURL(file).href, sha256 };
}

const none = { installed: [], packages: false } as const;

describe("findNatsServer", () => {
  it("an installed server that is new enough is taken, though the cache has one", async () => {
    const installed = fake(join(dir, "bin", "nats-server"), "2.12.0");
    fake(cachedServer(dir), "2.15.1");
    expect(await findNatsServer({ cacheDir: dir, ...none, installed: [installed] })).toEqual({
      binary: installed,
      version: "2.12.0",
      origin: "installed",
    });
  });

  it("an installed server that is too old is passed over for the cached one", async () => {
    const installed = fake(join(dir, "bin", "nats-server"), "2.10.22");
    fake(cachedServer(dir), "2.15.1");
    expect(await findNatsServer({ cacheDir: dir, ...none, installed: [installed] })).toMatchObject({
      origin: "cache",
      version: "2.15.1",
    });
  });

  it("an archive with the pinned checksum is unpacked into the cache, and found there the next time", async () => {
    const options = { cacheDir: join(dir, "cache"), ...none, archive: archive("2.14.3") };
    expect(await findNatsServer(options)).toMatchObject({ origin: "archive", version: "2.14.3" });
    expect(await findNatsServer({ ...options, archive: undefined })).toMatchObject({
      origin: "cache",
      version: "2.14.3",
    });
    expect(readdirSync(join(dir, "cache"))).toEqual(["nats"]);
  });

  it("an archive with another checksum is refused and nothing of it is kept", async () => {
    const { url } = archive("2.14.3");
    const options = {
      cacheDir: join(dir, "cache"),
      ...none,
      archive: { url, sha256: "0".repeat(64) },
    };
    await expect(findNatsServer(options)).rejects.toMatchObject({
      code: "broker.not_found",
      message: expect.stringContaining("not the one that was pinned"),
    });
    await expect(findNatsServer({ ...options, archive: undefined })).rejects.toThrow();
  });

  it("an archive of a version that is too old is refused, not used", async () => {
    const options = { cacheDir: join(dir, "cache"), ...none, archive: archive("2.11.9") };
    await expect(findNatsServer(options)).rejects.toThrow(/the fetched nats-server is 2\.11\.9/);
  });

  it("a host that takes the connection and never answers is given up within seconds", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    const url = `http://127.0.0.1:${port}/nats-server.tar.gz`;
    const startedAt = performance.now();
    await expect(
      findNatsServer({ cacheDir: dir, ...none, archive: { url, sha256: "0".repeat(64) } }),
    ).rejects.toMatchObject({ code: "broker.not_found" });
    expect(performance.now() - startedAt).toBeLessThan(8_000);
    silent.close();
  });

  it("finding nothing is one sentence that says what was seen and what to install", async () => {
    const installed = fake(join(dir, "bin", "nats-server"), "2.9.0");
    await expect(
      findNatsServer({ cacheDir: dir, packages: false, installed: [installed] }),
    ).rejects.toMatchObject({
      code: "broker.not_found",
      message: expect.stringMatching(/2\.12 or newer.*is 2\.9\.0.*install one.*BERTH_NATS_URL/),
    });
  });
});

describe("versions", () => {
  it.each([
    ["nats-server: v2.15.1", "2.15.1"],
    ["nats-server: v2.12.0-preview.1", "2.12.0-preview.1"],
    ["no version here", undefined],
  ])("%j names %s", (text, version) => {
    expect(tryParseServerVersion(text)).toBe(version);
  });

  it.each([
    ["2.12.0", true],
    ["2.15.1", true],
    ["3.0.0", true],
    ["2.11.9", false],
    ["2.9.25", false],
    ["1.99.0", false],
  ])("%s is new enough: %s", (version, isNew) => {
    expect(isNewEnough(version)).toBe(isNew);
  });
});
