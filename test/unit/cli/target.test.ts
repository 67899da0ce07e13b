import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findDevFile } from "../../../deploy/cli/dev-file.ts";
import { resolveTarget, type TargetOptions } from "../../../deploy/cli/target.ts";

const KEYS = { free: "key-free", pro: "key-pro", enterprise: "key-ent", operator: "key-op" };
const fileOf = (url: string) =>
  JSON.stringify({
    url,
    metrics_url: `${url}/metrics`,
    nats_url: "nats://127.0.0.1:1",
    keys: KEYS,
  });
const NOTHING = { key: undefined, url: undefined, noColor: false };

let root: string;
let inner: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "berth-cli-"));
  inner = join(root, "a", "b");
  await mkdir(inner, { recursive: true });
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function writeDevFile(content: string): Promise<void> {
  await mkdir(join(root, ".berth"), { recursive: true });
  await writeFile(join(root, ".berth", "dev.json"), content);
}

const resolve = (options: TargetOptions, environment: Partial<typeof NOTHING> | object = {}) =>
  resolveTarget(options, "pro", {
    environment: { ...NOTHING, ...environment },
    cwd: inner,
    readStdin: () => Promise.resolve("key-stdin\n"),
  });

describe("the development file", () => {
  test("is found from a folder below it", async () => {
    await writeDevFile(fileOf("http://127.0.0.1:1"));
    expect((await findDevFile(inner))?.path).toBe(join(root, ".berth", "dev.json"));
  });

  test("that is broken is named, not passed over", async () => {
    await writeDevFile("{");
    await expect(findDevFile(inner)).rejects.toMatchObject({ code: "config.invalid" });
    await writeDevFile('{"url":1}');
    await expect(findDevFile(inner)).rejects.toThrow(/dev\.json/);
  });
});

describe("the target of a command", () => {
  beforeEach(() => writeDevFile(fileOf("http://127.0.0.1:8000")));

  test("is the development gateway with the command's usual key when nothing is said", async () => {
    expect(await resolve({})).toEqual({ url: "http://127.0.0.1:8000", key: "key-pro" });
  });

  test("--tier picks another development key, also over BERTH_KEY", async () => {
    expect((await resolve({ tier: "operator" }, { key: "env" })).key).toBe("key-op");
  });

  test("what is given goes before the environment, and that before the file", async () => {
    const url = "http://127.0.0.1:8000";
    expect((await resolve({}, { key: "env", url })).key).toBe("env");
    expect((await resolve({ key: "given" }, { key: "env", url })).key).toBe("given");
  });

  test("--key-stdin reads the key and drops the line's end", async () => {
    expect((await resolve({ keyStdin: true })).key).toBe("key-stdin");
  });

  test("a development key is not told to another gateway", async () => {
    await expect(resolve({ url: "https://elsewhere.example" })).rejects.toMatchObject({
      code: "auth.missing",
    });
  });

  test("two ways to name the key are refused", async () => {
    await expect(resolve({ key: "a", tier: "pro" })).rejects.toMatchObject({
      code: "config.invalid",
    });
  });

  test.each(["nonsense", "ftp://x", "file:///etc/passwd"])("%s is no gateway", async (url) => {
    await expect(resolve({ url, key: "k" })).rejects.toMatchObject({ code: "config.invalid" });
  });

  test("an unknown tier's key says which file lacks it", async () => {
    await expect(resolve({ tier: "gold" })).rejects.toThrow(/dev\.json holds no key named "gold"/);
  });
});

test("without a gateway anywhere the error says how to name one", async () => {
  await expect(resolve({})).rejects.toThrow(/BERTH_URL/);
});
