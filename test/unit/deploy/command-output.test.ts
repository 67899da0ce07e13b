import { describe, expect, it } from "vitest";
import { commandOutput } from "../../../deploy/command-output.ts";
import { eventually } from "../../support/eventually.ts";

const BOUNDS = { timeoutMs: 5_000, maxBytes: 100 };

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("a command's output", () => {
  it("is what it printed, when it ended well", async () => {
    expect(await commandOutput("printf 'a\\nb'", BOUNDS)).toEqual({ text: "a\nb" });
  });

  it("is none when it ended badly, and the failure does not quote it", async () => {
    expect(await commandOutput("echo secret; echo secret >&2; exit 3", BOUNDS)).toEqual({
      failure: "ended with exit code 3",
    });
  });

  it("is none when it is too much, however fast it comes", async () => {
    expect(await commandOutput("yes", BOUNDS)).toEqual({ failure: "printed more than 100 bytes" });
  });

  it("is not waited for longer than the bound, also when others hold the pipe open, and they end too", async () => {
    const started = performance.now();
    const end = await commandOutput("sleep 61.5 & sleep 61.5", { ...BOUNDS, timeoutMs: 200 });
    expect(end).toEqual({ failure: "did not end within 200 ms, or was killed" });
    expect(performance.now() - started).toBeLessThan(4_000);
  });

  it("is whole when the command has ended, whoever it left behind: those end with it", async () => {
    const end = await commandOutput("sleep 62.5 & echo $!", BOUNDS);
    const pid = Number("text" in end ? end.text : "");
    expect(pid).toBeGreaterThan(1);
    await eventually(() => !isAlive(pid), { name: "it has ended" });
  });
});
