/** `berth audit` against a gateway, and against exports that somebody has changed. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../../../deploy/cli/exit-codes.ts";
import { type GatewayRig, startGatewayRig } from "../../support/gateway-rig.ts";
import { runBerth } from "./cli-run.ts";

let rig: GatewayRig;
let folder: string;
beforeAll(async () => {
  rig = await startGatewayRig();
  folder = await mkdtemp(join(tmpdir(), "berth-audit-"));
  for (const tenant of ["t-pro", "t-free", "t-pro", "t-pro"]) {
    await rig.api("DELETE", `/v1/tenants/${tenant}/keys/none`, { key: rig.keys.operator });
  }
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rig[Symbol.asyncDispose]();
});

const berth = (...args: string[]) =>
  runBerth(["audit", ...args], { key: rig.keys.operator, url: rig.url });

async function file(lines: readonly string[]): Promise<string> {
  const path = join(folder, "trail.jsonl");
  await writeFile(path, `${lines.join("\n")}\n`);
  return path;
}

describe("berth audit", () => {
  test("lists by tenant and act", async () => {
    const listed = JSON.parse((await berth("list", "--json", "--tenant", "t-free")).out) as {
      seq: number;
    }[];
    expect(listed.map(({ seq }) => seq)).toEqual([2, 1]);
    const table = await berth("--act", "key.revoke");
    expect(table.out).toContain("t-pro/6");
    expect(table.out).toContain("op (operator)");
  });

  test("verifies every chain and prints its anchor", async () => {
    const { code, out } = await berth("verify");
    expect(code).toBe(EXIT.ok);
    expect(out).toMatch(/^t-pro: 6 entries: whole; anchor 6:[0-9a-f]{64}$/m);
    expect(out).toMatch(/^t-free: 2 entries: whole; anchor 2:[0-9a-f]{64}$/m);
  });

  test("names the first entry of an export that was changed, removed or moved", async () => {
    const lines = (await berth("export", "--tenant", "t-pro")).out.trim().split("\n");
    const at = async (trail: readonly string[], ...more: string[]) =>
      berth("verify", await file(trail), ...more);
    const whole = await at(lines);
    expect(whole.code).toBe(EXIT.ok);
    const anchor = /anchor (\S+)/.exec(whole.out)![1]!;
    const changed = lines.with(2, lines[2]!.replace("operator", "user"));
    expect(await at(changed)).toMatchObject({
      code: EXIT.jobFailed,
      out: expect.stringContaining("changed: entry 3 "),
    });
    expect((await at(lines.toSpliced(1, 1))).out).toContain("removed: entry 2 ");
    expect((await at(lines.toSpliced(4, 0, lines[1]!))).out).toContain("reordered: entry 2 ");
    expect((await at(lines.slice(0, 5))).code).toBe(EXIT.ok);
    const cut = await at(lines.slice(0, 5), "--anchor", anchor);
    expect(cut).toMatchObject({
      code: EXIT.jobFailed,
      out: expect.stringContaining("removed: the chain ends at 5"),
    });
    const gone = await at(lines, "--anchor", anchor, `--anchor`, `t-gone=${anchor}`);
    expect(gone.code).toBe(EXIT.jobFailed);
    expect(gone.out).toContain("t-gone: 0 entries: removed");
  });

  test("refuses what is no anchor, no export, or cannot be read", async () => {
    expect((await berth("verify", "--anchor", "x")).code).toBe(EXIT.usage);
    expect((await berth("verify", await file(["{}"]))).err).toContain("trail.jsonl:1 is not");
    expect((await berth("verify", join(folder, "none"))).code).toBe(EXIT.usage);
  });
});
