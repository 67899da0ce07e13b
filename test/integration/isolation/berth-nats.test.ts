/** `berth nats` on a Berth that runs, with its built command: keys replaced under a job, and a gateway let in. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gatewayInbox } from "../../../deploy/nats/auth/gateway-credential.ts";
import { readCreds } from "../../../deploy/nats/auth/operator-keys.ts";
import { BerthClient } from "../../../gateway/client.ts";
import { authenticatorOf, parseCredsFile } from "../../../runtime/nats-auth/credential.ts";
import { type BerthProcess, spawnBerth } from "../../support/berth-process.ts";
import { eventually } from "../../support/eventually.ts";
import { followPrintingJob } from "../../support/followed-job.ts";

const BIN = fileURLToPath(new URL("../../../deploy/bin/berth.mjs", import.meta.url));
const LINES = 80;

let berth: BerthProcess;
beforeAll(async () => {
  berth = await spawnBerth();
}, 120_000);
afterAll(async () => {
  await berth?.[Symbol.asyncDispose]();
});

async function nats(...args: string[]): Promise<string> {
  const env = { PATH: process.env["PATH"], BERTH_DATA: berth.dataDir };
  const run = promisify(execFile);
  return (await run(process.execPath, [BIN, "nats", ...args], { env, timeout: 100_000 })).stdout;
}

describe("berth nats", () => {
  it("replaces every key under a running job, which loses nothing", async () => {
    const { url, keys } = await berth.dev();
    const client = new BerthClient({ url, key: keys.enterprise, patienceMs: 60_000 });
    const prompt = `for i in $(seq 1 ${LINES}); do echo line $i; sleep 0.5; done`;
    const { events, reading } = await followPrintingJob(client, prompt);
    for (const key of ["issuer", "operator", "platform", "gateway", "system"]) {
      const said = await nats("rotate", key, "--wait", "6s");
      expect(said).toContain(`the old ${key} key counts no more`);
    }
    await reading;
    const text = events
      .filter(({ type }) => type === "agent.output")
      .map(({ data }) => String(data["text"]))
      .join("");
    expect(text).toBe(Array.from({ length: LINES }, (_, n) => `line ${n + 1}\n`).join(""));
    expect(events.at(-1)?.type).toBe("job.succeeded");
    const again = await client.submit({ agent: "shell", prompt: "echo after" });
    await eventually(async () => (await client.job(again.id)).state === "succeeded", {
      within: 30_000,
      name: "a new worker runs a job",
    });
  }, 240_000);

  it("names the platform's credential in dev.json, for the stock command line", async () => {
    const { nats_url, nats_creds = "" } = await berth.dev();
    const nc = await connect({
      servers: new URL(nats_url).host,
      authenticator: authenticatorOf(() => readCreds(nats_creds)),
    });
    const answer = await nc.request("$SRV.PING.berth-node", "", { timeout: 5_000 });
    expect(answer.json()).toMatchObject({ name: "berth-node" });
    await nc.close();
  });

  it("makes a gateway's credential that another process can use", async () => {
    const text = await nats("creds", "edge-1");
    const credential = parseCredsFile(text);
    await writeFile(join(berth.dataDir, "edge.creds"), text, { mode: 0o600 });
    const { nats_url } = await berth.dev();
    const nc = await connect({
      servers: new URL(nats_url).host,
      authenticator: authenticatorOf(() => readCreds(join(berth.dataDir, "edge.creds"))),
      inboxPrefix: gatewayInbox(credential),
    });
    const answer = await nc.request("$SRV.PING.berth-node", "", { timeout: 5_000 });
    expect(answer.json()).toMatchObject({ name: "berth-node" });
    await nc.close();
  });

  it("refuses a key that there is not", async () => {
    await expect(nats("rotate", "everything")).rejects.toMatchObject({
      stderr: expect.stringContaining("there is no key"),
    });
  });
});
