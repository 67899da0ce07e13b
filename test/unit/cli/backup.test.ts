import { describe, expect, test } from "vitest";
import type { Commands } from "../../../deploy/backup/commands.ts";
import type { Manifest } from "../../../deploy/backup/manifest.ts";
import type { CliContext } from "../../../deploy/cli/context.ts";
import { EXIT } from "../../../deploy/cli/exit-codes.ts";
import { runCli } from "../../../deploy/cli/program.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { interruptsDouble, startersDouble, terminalDouble } from "./terminal-double.ts";

const manifest: Manifest = {
  ...{ format: 1, berth_version: "1.0.0", server_version: "2.15.1" },
  quiet_from: "2026-01-02T03:04:05.000Z",
  quiet_until: "2026-01-02T03:04:05.250Z",
  streams: [
    {
      ...{ name: "BERTH_MAIL", file: "BERTH_MAIL.s2", bytes: 2_048, sha256: "0".repeat(64) },
      config: {},
      state: { messages: 12, bytes: 4_000, first_seq: 1, last_seq: 12 },
    },
  ],
};

async function berth(commands: Partial<Commands>, ...args: string[]) {
  const { terminal, stdout, stderr } = terminalDouble();
  const keys = interruptsDouble();
  let code = -1;
  const context: CliContext = {
    ...{ terminal, clock: systemClock, cwd: "/", version: "1.2.3" },
    environment: { key: undefined, url: undefined, noColor: true },
    readStdin: () => Promise.resolve(""),
    readSecret: () => Promise.resolve(""),
    onInterrupt: keys.onInterrupt,
    setExitCode: (value) => {
      code = value;
    },
    exitNow: () => undefined,
  };
  const starters = startersDouble(() => Promise.reject(new Error("nothing is started")));
  const none: Commands = {
    create: () => Promise.reject(new Error("create")),
    verify: () => Promise.reject(new Error("verify")),
    restore: () => Promise.reject(new Error("restore")),
  };
  const running = runCli(["backup", ...args], context, {
    ...starters,
    backup: () => Promise.resolve({ ...none, ...commands }),
  });
  return {
    press: () => keys.press("SIGINT"),
    ended: running.then(() => ({ code, out: stdout.text, err: stderr.text })),
  };
}

describe("berth backup", () => {
  test("create says where the backup is and what is in it, and its progress beside that", async () => {
    let asked: Parameters<Commands["create"]>[0] | undefined;
    const create: Commands["create"] = (options) => {
      asked = options;
      options.say("BERTH_MAIL: 12 messages");
      return Promise.resolve({ folder: "/b", manifest });
    };
    const args = ["create", "b", "--max-hold", "2m", "--with-keys", "--passphrase-file", "p"];
    const { ended } = await berth({ create }, ...args);
    expect(await ended).toEqual({
      code: EXIT.ok,
      out: "/b: 1 streams, 12 messages, 2.0 KiB, of 2026-01-02T03:04:05.000Z, in 250ms\n",
      err: "BERTH_MAIL: 12 messages\n",
    });
    expect(asked).toMatchObject({ folder: "b", maxHoldMs: 120_000, passphraseFile: "p" });
  });

  test("saves keys only with a passphrase, and takes none for nothing", async () => {
    for (const args of [
      ["create", "b", "--with-keys"],
      ["create", "b", "--passphrase-file", "p"],
      ["restore", "b", "--keys-only"],
    ]) {
      const { ended } = await berth({}, ...args);
      const { code, err } = await ended;
      expect(code).toBe(EXIT.usage);
      expect(err).toMatch(/passphrase-file.*config\.invalid/);
    }
  });

  test("that is interrupted says so when everything is undone, and ends with 130", async () => {
    let undone = false;
    const restore: Commands["restore"] = ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          undone = true;
          reject(new Error("aborted"));
        });
      });
    const { ended, press } = await berth({ restore }, "restore", "b");
    // The command listens before it begins.
    await Promise.resolve();
    press();
    const { code, err } = await ended;
    expect({ code, err, undone }).toEqual({
      ...{ code: EXIT.interrupted, undone: true },
      err: "Interrupted: nothing was kept.\n",
    });
  });

  test("ends with a code by which scripts know a damaged backup from a broker that is away", async () => {
    const failing = (error: BerthError): Partial<Commands> => ({
      verify: () => Promise.reject(error),
    });
    const damaged = await berth(failing(new BerthError("backup.invalid", "x.s2")), "verify", "b");
    expect(await damaged.ended).toMatchObject({ code: EXIT.jobFailed });
    const away = await berth(failing(new BerthError("broker.unavailable")), "verify", "b");
    expect(await away.ended).toMatchObject({ code: EXIT.transient });
  });
});
