/** Restate's server with a virtual object, served by its own SDK in a process of its own. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startChild } from "../child.ts";
import { type Durability, temporaryFolder } from "../place.ts";
import type { Bench } from "../scenario.ts";
import { findInstalled } from "./installed.ts";
import { type Address, freePort, LOOPBACK, startServer } from "./server-process.ts";

const REGISTER_MS = 30_000;

/** Undefined when it is not installed. Objects are called with `POST /counter/<key>/count`. */
export async function startRestate(
  bench: Bench,
  durability: Durability,
): Promise<Address | undefined> {
  const platform = `${process.platform}-${process.arch}`;
  const name = `@restatedev/restate-server-${platform}`;
  const restate = await findInstalled([name], "bin/restate-server");
  if (!restate) return undefined;
  bench.uses(`restate ${restate.version}`);
  const folder = await temporaryFolder(bench, durability);
  const ingress = { host: LOOPBACK, port: await freePort("restate") };
  const admin = { host: LOOPBACK, port: await freePort("restate's admin") };
  const fabric = { host: LOOPBACK, port: await freePort("restate's fabric") };
  const config = join(folder, "restate.toml");
  await writeFile(
    config,
    configText({ folder, ingress, admin, fabric, syncs: durability === "power" }),
  );
  const args = ["--no-logo", "--listen-mode", "tcp", "--config-file", config];
  const command = restate.path;
  await startServer(bench, { name: "restate-server", command, args, folder, place: admin });
  const service = await startChild(bench, "restate-service", {});
  await register(admin, (service.ready as { readonly port: number }).port);
  return ingress;
}

/** As it comes, but that its log is synced at each append only where that is asked for. */
function configText(parts: {
  readonly folder: string;
  readonly ingress: Address;
  readonly admin: Address;
  readonly fabric: Address;
  readonly syncs: boolean;
}): string {
  const address = ({ host, port }: Address) => JSON.stringify(`${host}:${port}`);
  return `node-name = "bench"
base-dir = ${JSON.stringify(join(parts.folder, "data"))}
bind-address = ${address(parts.fabric)}
disable-telemetry = true
log-filter = "error"
[ingress]
bind-address = ${address(parts.ingress)}
[admin]
bind-address = ${address(parts.admin)}
disable-web-ui = true
[log-server]
rocksdb-disable-wal-fsync = ${!parts.syncs}
[bifrost.local]
rocksdb-disable-wal-fsync = ${!parts.syncs}
`;
}

async function register(admin: Address, port: number): Promise<void> {
  const answer = await fetch(`http://${admin.host}:${admin.port}/deployments`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ uri: `http://${LOOPBACK}:${port}` }),
    signal: AbortSignal.timeout(REGISTER_MS),
  });
  if (!answer.ok) throw new Error(`Restate takes no service: ${await answer.text()}`);
}
