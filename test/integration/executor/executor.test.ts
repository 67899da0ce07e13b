import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pack, unpack } from "msgpackr";
import { expect, it } from "vitest";
import { parseExecutorConfig } from "../../../executor/config.ts";
import { Contact } from "../../../executor/contact.ts";
import type { Premises } from "../../../executor/container.ts";
import { Executor } from "../../../executor/executor.ts";
import type { UplinkWire } from "../../../executor/uplink.ts";
import type { AskRequest } from "../../../protocols/envelope.ts";
import type { Frame } from "../../../protocols/executor.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { eventually } from "../../support/eventually.ts";
import { orderOf, SessionLog } from "../../support/executor-rig.ts";

it("a job's end in a container waits for what others left, ends strays, wipes; after a wipe that failed no order is taken (K3, X3)", async () => {
  const root = await mkdtemp(join(tmpdir(), "berth-executor-"));
  const calls: string[] = [];
  const call = (name: string) => async () => {
    calls.push(name);
    return 0;
  };
  const container: Premises = {
    memory: () => undefined,
    enter: async () => void calls.push("enter"),
    killAll: () => void calls.push("killAll"),
    hold: () => void calls.push("hold"),
    release: call("release"),
    async leave() {
      calls.push("leave");
      throw new Error("it is full");
    },
  };
  const session = new SessionLog();
  const wire: UplinkWire = {
    request: async (_subject, data) => {
      const frame = (unpack(data) as AskRequest).payload as Frame;
      session.take(frame);
      if (frame.outcome !== undefined) calls.push("outcome");
      return pack({ ok: true, payload: { acked: session.lastFrame } });
    },
    reconnected: () => new AbortController().signal,
  };
  const config = parseExecutorConfig({
    ...{ PATH: process.env["PATH"], BERTH_WORKER: "w", BERTH_NATS_URL: "nats://nowhere" },
    BERTH_WORKSPACE: root,
  });
  const executor = new Executor({
    ...{ config, wire, container, clock: systemClock, contact: new Contact(systemClock) },
    log: silentLogger,
    onStop: (reason) => calls.push(reason),
  });
  try {
    expect(executor.handle({ type: "run", order: orderOf("shell", "echo last") })).toEqual({
      ok: true,
    });
    await eventually(() => calls.length === 6, { name: "the end of the job, and of the worker" });
    expect(session.text()).toBe("last\n");
    expect(session.outcome).toMatchObject({ state: "succeeded" });
    expect(calls.slice(0, 4)).toEqual(["enter", "hold", "release", "leave"]);
    expect(calls).toContain("an attempt could not be cleaned up");
    const reply = executor.handle({ type: "run", order: orderOf("shell", "echo never") });
    expect(reply).toMatchObject({ ok: false, error: { code: "worker.lost" } });
  } finally {
    await executor.stop();
    await rm(root, { recursive: true, force: true });
  }
});
