/** A network namespace of the kernel: its own interfaces, addresses and firewall. Gone at the end, with all in it. */
import { randomBytes } from "node:crypto";
import { mustRun, type RunCommand, runCommand } from "../../executor/drivers/docker/command.ts";

export interface NetNamespace extends AsyncDisposable {
  readonly name: string;
  /** Runs programs in it. */
  readonly run: RunCommand;
}

export const ip = (...args: readonly string[]) => mustRun(runCommand, "ip", args);

export async function makeNetNamespace(): Promise<NetNamespace> {
  const name = `berth-test-${randomBytes(4).toString("hex")}`;
  await ip("netns", "add", name);
  return {
    name,
    run: (program, args, input) =>
      runCommand("ip", ["netns", "exec", name, program, ...args], input),
    async [Symbol.asyncDispose]() {
      await ip("netns", "delete", name);
    },
  };
}
