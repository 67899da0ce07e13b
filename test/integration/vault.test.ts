/** The vault in a whole Berth, on a real nats-server with workers that are processes. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newVaultKey } from "../../deploy/vault-keys.ts";
import { BerthClient } from "../../gateway/client.ts";
import type { SessionEvent } from "../../protocols/events.ts";
import { startBerth, type TestBerth } from "../support/berth.ts";
import { eventually } from "../support/eventually.ts";

const VALUE = "sk-test-0123456789abcdefghij";
const HASH = createHash("sha256").update(VALUE).digest("hex");
const SCRIPT = 'printf %s "$OPENAI_API_KEY" | sha256sum | cut -c1-64';
const TEST_MS = 90_000;

let folder: string;
let keyFile: string;
let berth: TestBerth;
const old = newVaultKey();
const idOf = (line: string) => line.split(":")[0] ?? "";
const writeKeys = (...lines: string[]) =>
  writeFile(keyFile, `${lines.join("\n")}\n`, { mode: 0o600 });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-vault-"));
  keyFile = join(folder, "keys");
  await writeKeys(old);
  const tiers = {
    pro: { jobsPerHour: 10_000 },
    enterprise: { minWorkers: 1, maxWorkers: 3, slotsPerWorker: 4 },
  };
  berth = await startBerth({ tiers, env: { BERTH_VAULT_KEY_FILE: keyFile } });
});
afterAll(async () => {
  await berth?.stop();
  await rm(folder, { recursive: true, force: true });
});

const clientOf = (key: string) => new BerthClient({ url: berth.url, key });

/** What the job printed; rejects when it did not succeed. */
async function outputOf(client: BerthClient, prompt: string, credentials = ["openai"]) {
  const events: SessionEvent[] = [];
  for await (const event of client.run({ agent: "shell", prompt, credentials })) events.push(event);
  const last = events.at(-1);
  if (last?.type !== "job.succeeded") throw new Error(JSON.stringify(last));
  const output = events.filter(({ type }) => type === "agent.output");
  return output.map(({ data }) => String(data["text"])).join("");
}

const operator = async <T>(method: "GET" | "POST", path: string, body?: object): Promise<T> => {
  const answer = await fetch(`${berth.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${berth.keys.operator}`,
      ...(body ? { "content-type": "application/json" } : {}),
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
};

interface VaultState {
  readonly keys: readonly { readonly id: string; readonly credentials: number }[];
  readonly unreadable: number;
}

describe("the vault", () => {
  test("a rotation of its keys disturbs no job that uses one, and afterwards the old key is not needed", {
    timeout: TEST_MS,
  }, async () => {
    const client = clientOf(berth.keys.pro);
    await client.setCredential("openai", VALUE);
    const next = newVaultKey();
    const stopped = new AbortController();
    let runs = 0;
    const jobs = (async () => {
      while (!stopped.signal.aborted) {
        expect(await outputOf(client, SCRIPT)).toBe(`${HASH}\n`);
        runs += 1;
      }
    })();
    const status = () => operator<VaultState>("GET", "/v1/vault");
    const runsMore = async () => {
      const before = runs;
      await eventually(() => runs > before + 1, { within: 30_000, name: "jobs go on" });
    };
    try {
      await runsMore();
      await writeKeys(old, next);
      await runsMore();
      await writeKeys(next, old);
      await eventually(async () => (await status()).keys[0]?.id === idOf(next), {
        within: 20_000,
        name: "the new key is current",
      });
      const rotation = await operator<{ rotated: number; unreadable: number }>(
        "POST",
        "/v1/vault/rotate",
        { after: null },
      );
      expect(rotation).toMatchObject({ rotated: 1, unreadable: 0, next: null });
      await runsMore();
      await writeKeys(next);
      await eventually(async () => (await status()).keys.length === 1, {
        within: 20_000,
        name: "the old key is gone",
      });
      expect(await status()).toEqual({ keys: [{ id: idOf(next), credentials: 1 }], unreadable: 0 });
      await runsMore();
    } finally {
      stopped.abort();
      await jobs;
    }
  });

  test("each use is in the tenant's audit trail by job, and seen in the list; no log line has the value", async () => {
    const client = clientOf(berth.keys.pro);
    await client.setCredential("openai", VALUE);
    const job = await client.submit({ agent: "shell", prompt: SCRIPT, credentials: ["openai"] });
    for await (const event of client.jobEvents(job.id)) expect(event.job_id).toBe(job.id);
    interface Page {
      readonly data: readonly { act: string; target: string; detail: Record<string, string> }[];
    }
    const { data } = await operator<Page>("GET", "/v1/audit?tenant=dev-pro&limit=200");
    expect(data).toContainEqual(
      expect.objectContaining({
        act: "credential.deliver",
        target: job.id,
        detail: { user: "dev", provider: "openai" },
      }),
    );
    expect((await client.credentials())[0]?.used_at).toEqual(expect.any(String));
    expect(berth.logs()).not.toContain(VALUE);
  });

  test("an agent that is given a key can leave no core dump, nor lift the limit", async () => {
    const client = clientOf(berth.keys.pro);
    await client.setCredential("openai", VALUE);
    expect(await outputOf(client, 'grep "core file" /proc/self/limits')).toMatch(/size +0 +0 /);
  });

  test("a job that names a key that is not stored fails with a code that says so", async () => {
    const client = clientOf(berth.keys.pro);
    const failure = outputOf(client, SCRIPT, ["gemini"]);
    await expect(failure).rejects.toThrow(/agent\.credential_missing.*gemini/);
  });

  test("jobs of two users of one fleet that hold keys share no worker; those of one user do", {
    timeout: TEST_MS,
  }, async () => {
    const made = await operator<{ key: string }>("POST", "/v1/tenants/dev-enterprise/keys", {
      ...{ name: "second", user: "second", scope: "user" },
    });
    const [first, second] = [clientOf(berth.keys.enterprise), clientOf(made.key)];
    const start = async (client: BerthClient) => {
      await client.setCredential("openai", VALUE);
      const job = { agent: "shell", prompt: "read line", credentials: ["openai"] };
      const { id } = await client.submit(job);
      const worker = await eventually(
        async () => {
          const found = await client.job(id);
          return found.state === "running" && found.worker;
        },
        { within: 30_000, name: "it runs" },
      );
      return { worker, end: () => client.input(id, "\n") };
    };
    const jobs = [await start(first), await start(second), await start(first)];
    const [one, two, three] = jobs.map(({ worker }) => worker);
    expect(two).not.toBe(one);
    expect(three).toBe(one);
    for (const { end } of jobs) await end();
  });
});
