/**
 * A whole Berth in operator mode that is saved while jobs run, and put back on a broker with other keys: what was done is there, what
 * ran ends once, new work goes on, also of a tenant with an account of its own.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newVaultKey } from "../../../deploy/vault-keys.ts";
import { BerthClient } from "../../../gateway/client.ts";
import type { SessionEvent } from "../../../protocols/events.ts";
import { isTerminal } from "../../../protocols/job.ts";
import { type BackupRig, backupRig } from "../../support/backup-rig.ts";
import { startBerth, type TestBerth } from "../../support/berth.ts";
import { eventually } from "../../support/eventually.ts";
import { followPrintingJob } from "../../support/followed-job.ts";
import { startOperatorNats } from "../../support/nats.ts";

/** Workers of the old deployment are given up soon. */
const SOON = {
  BERTH_ORPHAN_AFTER: "2s",
  BERTH_KILL_GRACE: "1s",
  BERTH_SWEEP_EVERY: "1s",
  BERTH_CREDENTIAL_TTL: "20s",
};
const ENDS = new Set([
  "job.succeeded",
  "job.failed",
  "job.cancelled",
  "job.timed_out",
  "job.interrupted",
]);

let rig: BackupRig;
let home: string;
let env: Record<string, string>;
const before = { keys: {} as TestBerth["keys"], done: new Map<string, readonly SessionEvent[]>() };
const running = { id: "", session: "" };

const clientOf = ({ url }: { readonly url: string }, tier: "pro" | "enterprise") =>
  new BerthClient({ url, key: before.keys[tier] ?? "" });

beforeAll(async () => {
  rig = await backupRig();
  home = await mkdtemp(join(tmpdir(), "berth-vault-"));
  const vaultKey = join(home, "vault.key");
  await writeFile(vaultKey, `${newVaultKey()}\n`, { mode: 0o600 });
  env = { ...SOON, BERTH_VAULT_KEY_FILE: vaultKey };
  await using berth = await startBerth({ env });
  before.keys = berth.keys;
  for (const tier of ["pro", "enterprise"] as const) {
    const client = clientOf(berth, tier);
    for (const n of [1, 2]) {
      const { id } = await client.submit({ agent: "shell", prompt: `echo ${tier} ${n}` });
      const events: SessionEvent[] = [];
      for await (const event of client.jobEvents(id)) events.push(event);
      before.done.set(`${tier} ${id}`, events);
    }
  }
  const client = clientOf(berth, "pro");
  await client.setCredential("claude_api", "sk-ant-not-a-real-one-at-all-0123456789");
  const job = await followPrintingJob(client, "echo begun; sleep 60; echo never");
  Object.assign(running, { id: job.id, session: job.session_id });
  // Submissions go on while the cut is made: all are answered, none is refused.
  const stopping = new AbortController();
  const submitted: string[] = [];
  const submitting = (async () => {
    while (!stopping.signal.aborted)
      submitted.push((await client.submit({ agent: "echo", prompt: "on" })).id);
  })();
  await eventually(() => submitted.length > 2, { name: "submissions" });
  await rig.create(berth.nats.broker, "whole");
  stopping.abort();
  await submitting;
  await client.cancel(job.id);
  await job.reading;
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

const gapless = (events: readonly SessionEvent[]) =>
  events.map(({ seq }) => seq - (events[0]?.seq ?? 0));

describe("a Berth that was put back", () => {
  test("has all that was done, ends what ran once, and goes on", async () => {
    const nats = await startOperatorNats();
    await rig.restore("whole", nats.broker);
    await using berth = await startBerth({ nats, env });
    for (const [name, events] of before.done) {
      const [tier = "", id = ""] = name.split(" ");
      const client = clientOf(berth, tier as "pro");
      expect((await client.job(id)).state).toBe("succeeded");
      const again: SessionEvent[] = [];
      for await (const event of client.jobEvents(id)) again.push(event);
      expect(again).toEqual(events);
    }
    const client = clientOf(berth, "pro");
    await eventually(async () => isTerminal((await client.job(running.id)).state), {
      name: "the job that ran has ended",
      within: 60_000,
    });
    const events = (await client.eventPage(running.session)).data;
    expect(gapless(events)).toEqual(events.map((_, n) => n));
    expect(events.filter(({ type }) => ENDS.has(type))).toHaveLength(1);
    expect((await client.credentials()).map(({ provider }) => provider)).toEqual(["claude_api"]);
    // Also one with a place and an account of its own, on a broker whose operator is another.
    for (const tier of ["pro", "enterprise"] as const) {
      const other = clientOf(berth, tier);
      const { id } = await other.submit({ agent: "shell", prompt: "echo anew" });
      await eventually(async () => (await other.job(id)).state === "succeeded", {
        name: `${tier} goes on`,
        within: 60_000,
      });
    }
    const waiting = await client.jobs({ limit: 100 });
    await eventually(
      async () => {
        for (const { id } of waiting.data)
          if (!isTerminal((await client.job(id)).state)) throw new Error(`${id} has not ended`);
      },
      { name: "nothing is stuck", within: 60_000 },
    );
  });
});
