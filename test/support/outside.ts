/**
 * A host beyond this one, on a cable of its own: at an address that stands for the internet, at a private one and at a
 * link-local one. This host reaches all three, so that a worker that does not was kept from it.
 */
import { spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { mustRun } from "../../executor/drivers/docker/command.ts";
import { ip, makeNetNamespace } from "./net-namespace.ts";

const PROGRAM = fileURLToPath(new URL("programs/outside.ts", import.meta.url));
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PORT = 8_088;

export interface Outside extends AsyncDisposable {
  /** Of its HTTP server. */
  readonly port: number;
  /** In a range for documentation, which is in nobody's use. */
  readonly publicAddress: string;
  /** Its name server listens here, too: any name is `publicAddress`. */
  readonly privateAddress: string;
  readonly linkLocalAddress: string;
  /** What its name server was asked, each name once for each question. */
  readonly asked: readonly string[];
  /** This host's end of the cable. */
  readonly device: string;
  /** Whether it can connect to a port of an address that this host forwards to. */
  reaches(address: string, port: number): Promise<boolean>;
}

export async function startOutside(): Promise<Outside> {
  const space = await makeNetNamespace();
  const inside = (...args: readonly string[]) => mustRun(space.run, "ip", args);
  const id = randomBytes(4).toString("hex");
  const [near, far] = [`tst${id}h`, `tst${id}o`];
  const block = randomInt(64) * 4;
  const [host, publicAddress] = [`198.51.100.${block + 1}`, `198.51.100.${block + 2}`];
  const privateAddress = `10.99.${randomInt(256)}.${randomInt(1, 255)}`;
  const linkLocalAddress = `169.254.99.${randomInt(1, 255)}`;
  await ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space.name);
  await ip("address", "add", `${host}/30`, "dev", near);
  await ip("link", "set", near, "up");
  await inside("address", "add", `${publicAddress}/30`, "dev", far);
  await inside("link", "set", far, "up");
  await inside("link", "set", "lo", "up");
  for (const address of [privateAddress, linkLocalAddress]) {
    await inside("address", "add", `${address}/32`, "dev", "lo");
    await ip("route", "add", `${address}/32`, "via", publicAddress);
  }
  await inside("route", "add", "default", "via", host);
  const args = ["netns", "exec", space.name, process.execPath, "--import", "tsx", PROGRAM];
  const child = spawn("ip", [...args, String(PORT), publicAddress, privateAddress], {
    cwd: ROOT,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const gone = once(child, "exit");
  const asked: string[] = [];
  const lines = createInterface(child.stdout);
  lines.on("line", (line) => {
    if (line.startsWith("asked ")) asked.push(line.slice("asked ".length));
  });
  await once(lines, "line");
  return {
    port: PORT,
    publicAddress,
    privateAddress,
    linkLocalAddress,
    asked,
    device: near,
    async reaches(address, port) {
      const url = `http://${address}:${port}/`;
      const { code } = await space.run("curl", [
        "--silent",
        "--max-time",
        "3",
        "--output",
        "/dev/null",
        url,
      ]);
      return code === 0;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await gone;
      // The cable goes with its end, and the routes with the cable.
      await ip("link", "delete", near);
      await space[Symbol.asyncDispose]();
    },
  };
}
