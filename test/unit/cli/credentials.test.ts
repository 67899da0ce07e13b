/** `berth credentials` and `berth vault` against a gateway. */
import { EventEmitter } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startVaultService, type VaultService } from "../../../actors/vault/vault-service.ts";
import { EXIT } from "../../../deploy/cli/exit-codes.ts";
import { askSecret } from "../../../deploy/cli/secret-input.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { KeyFile, keyLine, type VaultRig, vaultRig } from "../../support/vault-rig.ts";
import { runBerth } from "./cli-run.ts";
import { Written } from "./terminal-double.ts";

const VALUE = "sk-canary-0123456789abcdef-wxyz";
const file = new KeyFile(keyLine("k1"));
let rig: GatewayRig;
let vault: VaultRig;
let service: VaultService;
beforeAll(async () => {
  rig = await startGatewayRig();
  vault = await vaultRig(file, { buckets: rig.transport.buckets });
  const { bus } = rig.transport;
  service = await startVaultService({
    vault: vault.vault,
    bus,
    clock: systemClock,
    log: silentLogger,
  });
});
afterAll(async () => {
  await service.close();
  await rig[Symbol.asyncDispose]();
});

const berth = (args: readonly string[], secret = "", key = rig.keys.pro) =>
  runBerth(args, { key, url: rig.url, secret });

describe("berth credentials", () => {
  test("stores what it is given on standard input, lists it without its value, and removes it", async () => {
    const set = await berth(["credentials", "set", "claude_api"], `${VALUE}\n`);
    expect(set).toEqual({ code: EXIT.ok, out: "claude_api is stored\n", err: "" });
    const place = { tenant: "t-pro", user: "u1", provider: "claude_api", purpose: "" };
    expect(await vault.vault.open(place)).toBe(VALUE);
    const list = await berth(["credentials"]);
    expect(list.out).toMatch(/claude_api +wxyz +\S.* +CLAUDE_API_KEY, ANTHROPIC_API_KEY/);
    expect(list.out).not.toContain(VALUE);
    expect((await berth(["credentials", "remove", "claude_api"])).code).toBe(EXIT.ok);
    expect((await berth(["credentials", "remove", "claude_api"])).code).toBe(EXIT.notFound);
    expect((await berth(["credentials"])).err).toContain("No credentials.");
  });

  test("takes no value as an argument, none that is empty, and no API key on the same input", async () => {
    const argument = await berth(["credentials", "set", "openai", VALUE]);
    expect(argument.code).toBe(EXIT.usage);
    expect((await berth(["credentials", "set", "openai"], "\n")).code).toBe(EXIT.usage);
    expect((await berth(["credentials", "set", "openai", "--key-stdin"], VALUE)).code).toBe(
      EXIT.usage,
    );
    expect((await berth(["credentials"])).err).toContain("No credentials.");
  });

  test("says what is wrong with a value, and not the value", async () => {
    const bad = await berth(["credentials", "set", "openai"], `${VALUE}\u0007${VALUE}`);
    expect(bad.code).toBe(EXIT.usage);
    expect(bad.err).toContain("control characters");
    expect(bad.err).not.toContain(VALUE);
  });
});

describe("berth vault", () => {
  test("shows what is sealed under which key, and rotates", async () => {
    await berth(["credentials", "set", "openai"], VALUE);
    const { operator } = rig.keys;
    expect((await berth(["vault"], "", operator)).out).toMatch(/k1 +1 +current/);
    file.text = `${keyLine("k2")}\n${file.text}`;
    const rotated = await berth(["vault", "rotate"], "", operator);
    expect(rotated).toMatchObject({
      code: EXIT.ok,
      out: "1 rotated, 0 were under k2 already, 0 unreadable\n",
    });
    expect((await berth(["vault", "status"], "", operator)).out).toMatch(/k2 +1 +current\n *k1 +0/);
    expect((await berth(["vault", "status"])).code).toBe(EXIT.auth);
  });

  test("prints a new key that a key file takes", async () => {
    const { out } = await berth(["vault", "new-key"]);
    expect(out).toMatch(/^vault-[0-9a-f]{8}:[A-Za-z0-9+/]{43}=\n$/);
  });
});

describe("a secret that is typed", () => {
  const typed = async (...pieces: string[]) => {
    const raw: boolean[] = [];
    const stdin = Object.assign(new EventEmitter(), {
      setRawMode: (isRaw: boolean) => raw.push(isRaw),
      setEncoding: () => undefined,
      resume: () => undefined,
      pause: () => undefined,
    });
    const stderr = new Written();
    const asking = askSecret({ stdin, stderr, prompt: "key: " });
    for (const piece of pieces) stdin.emit("data", piece);
    const answer = await asking.finally(() => expect(raw).toEqual([true, false]));
    return { answer, shown: stderr.text };
  };

  test("is taken key by key or pasted, corrected, and never shown", async () => {
    expect(await typed("ab", "c", "\u007f", "d", "\r")).toEqual({
      answer: "abd",
      shown: "key: \n",
    });
    expect(await typed(`${VALUE}\nmore`)).toEqual({ answer: VALUE, shown: "key: \n" });
  });

  test("is given up with Ctrl-C", async () => {
    await expect(typed("abc\u0003")).rejects.toMatchObject({ code: "config.invalid" });
  });
});
