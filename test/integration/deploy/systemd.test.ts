/** The installation on one host as docs/operations.md has it: its commands and its units, run as they stand there. */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { BerthClient } from "../../../gateway/client.ts";
import { endsJob } from "../../../protocols/events.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { ROOT } from "../../support/source.ts";
import { installUnits } from "../../support/systemd.ts";
import { openTenant } from "../../support/tenant.ts";

const run = promisify(execFile);
const UNITS = ["berth-nats", "berth-node", "berth-gateway", "berth-backup"];
const START_MS = 60_000;

/** The lines of the guide's block of commands that make keys, without the prompt. */
async function keyCommands(): Promise<string> {
  const text = await readFile(join(ROOT, "docs", "operations.md"), "utf8");
  const [, section = ""] = text.split("\n## Install on one host\n");
  const [, block = ""] = section.split("```\n");
  const lines = block.split("\n").map((line) => line.replace(/^# /, ""));
  const from = lines.findIndex((line) => line.startsWith("export BERTH_NATS_AUTH"));
  const to = lines.findIndex((line) => line.startsWith("chown berth:"));
  expect([from > 0, to > from]).toEqual([true, true]);
  return lines.slice(from, to).join("\n");
}

test("a host that is set up by the guide runs a job, and backs itself up", {
  timeout: 180_000,
}, async () => {
  await using units = await installUnits();
  await units.install(await keyCommands());
  const port = async (name: string) => String(await freePort(name));
  const [nats, gateway] = [await port("nats"), await port("gateway")];
  const broker = { BERTH_NATS_URL: `nats://127.0.0.1:${nats}` };
  await units.start("berth-nats", {
    NATS_PORT: nats,
    NATS_MONITOR: `127.0.0.1:${await port("monitor")}`,
  });
  const node = await units.start("berth-node", {
    ...broker,
    // What the units are for besides is tested where there are containers.
    BERTH_DRIVER: "process",
    BERTH_NODE_PORT: await port("node"),
    BERTH_TIERS: JSON.stringify({ free: { minWorkers: 0, maxWorkers: 1 } }),
  });
  const gate = await units.start("berth-gateway", {
    ...broker,
    BERTH_PORT: gateway,
    BERTH_METRICS_PORT: await port("metrics"),
  });
  const url = `http://127.0.0.1:${gateway}`;
  await eventually(async () => (await fetch(`${url}/readyz`)).ok, {
    within: START_MS,
    name: "the gateway is ready",
  }).catch((thrown: unknown) => {
    throw new Error(`${String(thrown)}: ${node.said()} ${gate.said()}`, { cause: thrown });
  });
  const auth =
    "BERTH_NATS_AUTH=/etc/berth/nats-auth BERTH_NATS_CREDS=/etc/berth/nats-auth/platform.creds";
  const key = await units.install(
    `${auth} BERTH_NATS_URL=${broker.BERTH_NATS_URL} berth operator-key`,
  );
  const tenant = await openTenant({ url, key: key.trim() }, { tenant: "acme", tier: "pro" });
  const client = new BerthClient({ url, key: await tenant.keyOf("ann") });
  const ends: string[] = [];
  for await (const event of client.run({ agent: "shell", prompt: "echo hello" }))
    if (endsJob(event)) ends.push(event.type);
  expect(ends).toEqual(["job.succeeded"]);
  const { said, state } = await units.once("berth-backup", broker);
  const [copy = "", ...others] = await readdir(state);
  expect(others).toEqual([]);
  // Made, and verified as it lies there.
  expect(said.match(/ streams, /g)).toHaveLength(2);
  expect(await readdir(join(state, copy))).toContain("SHA256SUMS");
});

test("the units are what systemd takes, but for programs that are not there yet", async () => {
  const files = [...UNITS.map((unit) => `${unit}.service`), "berth-backup.timer"];
  const paths = files.map((file) => join(ROOT, "deploy", "systemd", file));
  const said = await run("systemd-analyze", ["verify", ...paths]).then(
    ({ stderr }) => stderr,
    (thrown: { readonly code?: unknown; readonly stderr?: string }) =>
      thrown.code === "ENOENT" ? "" : (thrown.stderr ?? "it said nothing"),
  );
  const complaints = said.split("\n").filter((line) => line.includes("berth-"));
  expect(complaints.filter((line) => !line.includes("is not executable"))).toEqual([]);
});

test("no unit lets keys into a core dump, and only the node is root", async () => {
  for (const unit of UNITS) {
    const text = await readFile(join(ROOT, "deploy", "systemd", `${unit}.service`), "utf8");
    expect(text).toMatch(/^LimitCORE=0$/m);
    expect(text).toMatch(/^NoNewPrivileges=true$/m);
    expect(/^User=berth$/m.test(text)).toBe(unit !== "berth-node");
  }
});
