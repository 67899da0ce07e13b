/** Whom a rotation of the operator's key may end: our own nats-server on that data folder, and nobody else. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadConfig } from "../../../deploy/config.ts";
import { rotateKey } from "../../../deploy/nats/auth/keyholder.ts";
import { endServer, serverPid } from "../../../deploy/nats/own-process.ts";
import { PID_FILE } from "../../../deploy/nats/server.ts";
import { eventually } from "../../support/eventually.ts";
import { type OperatorNats, startOperatorNats } from "../../support/nats.ts";

let nats: OperatorNats;
beforeAll(async () => {
  nats = await startOperatorNats();
});
afterAll(async () => {
  await nats?.[Symbol.asyncDispose]();
});

const rotateOperator = (env: Record<string, string>) =>
  rotateKey(loadConfig({ BERTH_DATA: nats.dataDir, ...env }), {
    ...{ key: "operator", waitMs: 1, print: () => {} },
  });
const pidFile = () => join(nats.dataDir, PID_FILE);

async function withPid(pid: number, act: () => Promise<void>): Promise<void> {
  const own = await readFile(pidFile(), "utf8");
  await writeFile(pidFile(), String(pid));
  try {
    await act();
  } finally {
    await writeFile(pidFile(), own);
  }
}

it("is the server on that folder, by whatever name the folder is called", async () => {
  expect(await serverPid(nats.dataDir)).toBe(nats.pid);
  const link = join(nats.dataDir, "link");
  await symlink(nats.dataDir, link);
  expect(await serverPid(link)).toBe(nats.pid);
});

it("is not a process that has the number of an old pid file: it lives on, and no key is begun", async () => {
  const stranger = spawn("sleep", ["60"], { stdio: "ignore" });
  const ended = once(stranger, "exit");
  try {
    await withPid(stranger.pid ?? -1, async () => {
      const refused = { code: "config.invalid", message: expect.stringContaining("not that") };
      await expect(rotateOperator({})).rejects.toMatchObject(refused);
      await expect(endServer(nats.dataDir)).rejects.toMatchObject(refused);
    });
    expect(stranger.signalCode).toBeNull();
    expect(await readdir(nats.keys.folder)).not.toContain("operator-signing.next.nk");
  } finally {
    stranger.kill("SIGKILL");
  }
  // It had got no signal before ours.
  expect(await ended).toEqual([null, "SIGKILL"]);
});

it("is nobody when the process of the file is gone: the error says so", async () => {
  const gone = spawn("true", { stdio: "ignore" });
  await once(gone, "exit");
  await withPid(gone.pid ?? -1, async () => {
    await expect(endServer(nats.dataDir)).rejects.toMatchObject({
      code: "config.invalid",
      message: expect.stringContaining(`process ${gone.pid}`),
    });
  });
});

it("is nobody when the broker is one that runs elsewhere, though a server of ours runs, too", async () => {
  const { pid } = nats;
  await expect(rotateOperator({ BERTH_NATS_URL: nats.url })).rejects.toMatchObject({
    code: "config.invalid",
    message: expect.stringContaining("BERTH_NATS_URL"),
  });
  expect(nats.pid).toBe(pid);
  expect(await readdir(nats.keys.folder)).not.toContain("operator-signing.next.nk");
});

it("ends when it is asked to", async () => {
  await endServer(nats.dataDir);
  await eventually(() => nats.pid === undefined, { name: "it has ended" });
});
