/** Networks of a node of its own and containers in them, on the real engine. All of it is gone at the end, with the node's rules. */
import { randomBytes } from "node:crypto";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type { Container } from "dockerode";
import { NO_NAME_SERVER } from "../../executor/drivers/docker/container-spec.ts";
import type { DoorTarget } from "../../executor/drivers/docker/door.ts";
import { Firewall } from "../../executor/drivers/docker/firewall.ts";
import { type EngineOwner, filterOf, LABELS } from "../../executor/drivers/docker/labels.ts";
import {
  type NetworkOwner,
  Networks,
  type NetworksOptions,
  type WorkerNetwork,
} from "../../executor/drivers/docker/networks.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { docker, EXECUTOR_IMAGE } from "./docker.ts";

export const DOOR_PORT = 14_222;
/** Each worker answers HTTP here. */
export const WORKER_PORT = 8_080;

export interface TestWorker {
  readonly name: string;
  readonly address: string;
  readonly network: WorkerNetwork;
  readonly container: Container;
  /** Standard output of a script of Node.js that runs in it; its arguments are `process.argv[1]` and on. */
  run(script: string, ...args: readonly string[]): Promise<string>;
}

export interface WorkerNetworks extends AsyncDisposable {
  readonly owner: EngineOwner;
  /** As a process of the node would open them. Closed at the end. */
  open(options?: Partial<NetworksOptions>): Promise<Networks>;
  /** A container as a driver would start it. */
  startWorker(
    networks: Networks,
    network: NetworkOwner,
    options?: { readonly internet?: boolean; readonly dns?: readonly string[] },
  ): Promise<TestWorker>;
  /** Names of the node's networks that the engine has. */
  names(): Promise<string[]>;
}

const SERVE = `require("node:http").createServer((_, r) => r.end("worker")).listen(${WORKER_PORT})`;

export function workerNetworks(targets: () => readonly DoorTarget[] = () => []): WorkerNetworks {
  const owner: EngineOwner = {
    deployment: `test-${randomBytes(4).toString("hex")}`,
    node: "node-1",
  };
  const opened: Networks[] = [];
  const names = async () =>
    (await docker.listNetworks({ filters: filterOf(owner, "network") })).map(({ Name }) => Name);
  return {
    owner,
    names,
    async open(options = {}) {
      const networks = await Networks.open({
        engine: docker,
        owner,
        subnets: "10.212.0.0/14",
        doorPort: DOOR_PORT,
        natsTargets: targets,
        clock: systemClock,
        log: silentLogger,
        ...options,
      });
      opened.push(networks);
      return networks;
    },
    startWorker: (networks, network, { internet = true, dns = [] } = {}) =>
      networks.use(network, { internet, labels: {} }, async (found) => {
        const name = `${owner.deployment}-${randomBytes(3).toString("hex")}`;
        const container = await docker.createContainer({
          name,
          Image: EXECUTOR_IMAGE,
          Entrypoint: ["node"],
          Cmd: ["-e", SERVE],
          User: "1000:1000",
          Labels: { [LABELS.deployment]: owner.deployment, [LABELS.node]: owner.node },
          HostConfig: {
            NetworkMode: found.name,
            CapDrop: ["ALL"],
            SecurityOpt: ["no-new-privileges"],
            // As a driver starts those whose network leads nowhere.
            ...(internet ? { Dns: [...dns] } : NO_NAME_SERVER),
          },
        });
        await container.start();
        const { NetworkSettings } = await container.inspect();
        const address = NetworkSettings.Networks[found.name]?.IPAddress ?? "";
        const run = (script: string, ...args: readonly string[]) =>
          runIn(container, ["node", "-e", script, ...args]);
        return { name, address, network: found, container, run };
      }),
    async [Symbol.asyncDispose]() {
      for (const networks of opened) await networks.close();
      const containers = await docker.listContainers({ all: true, filters: filterOf(owner) });
      await Promise.all(
        containers.map(({ Id }) => docker.getContainer(Id).remove({ force: true })),
      );
      for (const name of await names()) await docker.getNetwork(name).remove();
      await new Firewall({ owner, doorPort: DOOR_PORT, log: silentLogger }).removeDeployment();
    },
  };
}

async function runIn(container: Container, command: string[]): Promise<string> {
  const exec = await container.exec({ Cmd: command, AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({});
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.once("close", () => {
    out.end();
    err.end();
  });
  const [stdout, stderr] = await Promise.all([text(out), text(err)]);
  const { ExitCode } = await exec.inspect();
  if (ExitCode !== 0) throw new Error(`it ended with ${ExitCode}: ${stderr}`);
  return stdout;
}
