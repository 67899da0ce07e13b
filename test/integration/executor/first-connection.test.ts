/** A worker that no broker lets in: it ends as an orphan does, and as soon as it is asked to. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseExecutorConfig } from "../../../executor/config.ts";
import { runWorker } from "../../../executor/worker.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { freePort } from "../../support/free-port.ts";
import { startNats } from "../../support/nats.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "berth-first-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

function run(natsUrl: string, orphanAfterMs: number, signal: AbortSignal): Promise<string> {
  const config = parseExecutorConfig({
    PATH: process.env["PATH"],
    BERTH_WORKER: "wrk-nobody",
    BERTH_NATS_URL: natsUrl,
    BERTH_WORKSPACE: root,
    BERTH_ORPHAN_AFTER_MS: String(orphanAfterMs),
  });
  return runWorker({ config, clock: systemClock, log: silentLogger, signal });
}

test("ends when its credential is refused for as long as makes it an orphan", async () => {
  await using nats = await startNats({ authorize: true });
  const url = new URL(nats.url);
  url.password = "not-this-one";
  const reason = await run(url.href, 500, new AbortController().signal);
  expect(reason).toBe("no broker has let it in for too long");
});

test("ends at once when it is asked to while nobody answers", async () => {
  const asked = new AbortController();
  const ended = run(`nats://127.0.0.1:${await freePort("nobody")}`, 60_000, asked.signal);
  asked.abort();
  expect(await ended).toBe("the process was asked to end");
});
