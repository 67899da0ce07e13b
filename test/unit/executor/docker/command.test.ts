import { describe, expect, it } from "vitest";
import { mustRun, runCommand } from "../../../../executor/drivers/docker/command.ts";

describe("a program of the host", () => {
  it("tells its code and what it said, and is no error for ending badly", async () => {
    const end = await runCommand("sh", ["-c", "echo out; echo err >&2; exit 3"]);
    expect(end).toEqual({ code: 3, stdout: "out\n", stderr: "err\n" });
  });

  it("has no code when it could not be started or was killed, and says why", async () => {
    const missing = await runCommand("berth-no-such-program", []);
    expect(missing.code).toBeNull();
    expect(missing.stderr).toContain("ENOENT");
    expect((await runCommand("sh", ["-c", "kill -9 $$"])).code).toBeNull();
  });

  it("reads nothing by default and sees nothing of our environment", async () => {
    const { stdout } = await runCommand("sh", ["-c", "cat; env | grep -v -e ^PWD= -e ^_= | sort"]);
    expect(
      stdout.split("\n").filter((line) => !/^(?:LC_ALL|PATH|SHLVL|OLDPWD)=/.test(line)),
    ).toEqual([""]);
  });

  it("reads what it is given, and says why it ended when it does not read", async () => {
    expect((await runCommand("cat", [], "given")).stdout).toBe("given");
    const much = "x".repeat(1024 ** 2);
    expect(await runCommand("sh", ["-c", "exit 3"], much)).toMatchObject({ code: 3 });
    expect((await runCommand("berth-no-such-program", [], much)).stderr).toContain("ENOENT");
  });

  it("that must succeed fails in its own words, unless the code is allowed", async () => {
    const args = ["-c", "echo a reason >&2; exit 4"];
    await expect(mustRun(runCommand, "sh", args)).rejects.toMatchObject({
      code: "driver.failed",
      message: "sh ended with 4: a reason",
    });
    expect(await mustRun(runCommand, "sh", ["-c", "echo yes; exit 4"], [0, 4])).toBe("yes\n");
  });
});
