import { describe, expect, test } from "vitest";
import type { CliContext } from "../../../deploy/cli/context.ts";
import { EXIT } from "../../../deploy/cli/exit-codes.ts";
import { runCli } from "../../../deploy/cli/program.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { interruptsDouble, startersDouble, terminalDouble } from "./terminal-double.ts";

/** `berth up` whose stop lasts until `finish` is called. */
function upWithSlowStop(failed?: Promise<BerthError>) {
  const { terminal, stderr } = terminalDouble();
  const keys = interruptsDouble();
  const clock = new ManualClock();
  const exits: number[] = [];
  let finish = () => {};
  const stopped = new Promise<void>((resolve) => {
    finish = resolve;
  });
  let isUp = false;
  const context: CliContext = {
    terminal,
    clock,
    environment: { key: undefined, url: undefined, noColor: true },
    cwd: "/",
    version: "1.2.3",
    readStdin: () => Promise.resolve(""),
    readSecret: () => Promise.resolve(""),
    onInterrupt: keys.onInterrupt,
    setExitCode: (code) => void exits.push(code),
    exitNow: (code) => void exits.push(code),
  };
  const ended = runCli(
    ["up"],
    context,
    startersDouble(() => {
      isUp = true;
      return Promise.resolve({ stop: () => stopped, ...(failed ? { failed } : {}) });
    }),
  );
  return { clock, ended, exits, finish, isUp: () => isUp, keys, text: () => stderr.text };
}

describe("berth up, told to stop", () => {
  test("one Ctrl-C that npm passes on a second time is one: the stop is not cut short", async () => {
    const up = upWithSlowStop();
    await eventually(up.isUp, { name: "up" });
    up.keys.press("SIGINT");
    await up.clock.advance(40);
    up.keys.press("SIGINT");
    await eventually(() => up.text().includes("Stopping"), { name: "stopping" });
    expect(up.exits).toEqual([]);
    up.finish();
    await up.ended;
    expect(up.text()).toContain("Stopped.");
  });

  test("stops gracefully, too, when it cannot go on, and ends with what was wrong", async () => {
    const up = upWithSlowStop(Promise.resolve(new BerthError("lease.lost", "replaced")));
    await eventually(() => up.text().includes("Stopping"), { name: "stopping" });
    up.finish();
    await up.ended;
    expect(up.text()).toContain("replaced (lease.lost)");
    expect(up.exits).toEqual([EXIT.transient]);
  });

  test("a second Ctrl-C by a person leaves at once", async () => {
    const up = upWithSlowStop();
    await eventually(up.isUp, { name: "up" });
    up.keys.press("SIGINT");
    await up.clock.advance(1_000);
    up.keys.press("SIGINT");
    expect(up.exits).toEqual([EXIT.interrupted]);
    up.finish();
    await up.ended;
  });
});
