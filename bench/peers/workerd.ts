/** Durable Objects in workerd, their storage on the local disk. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Durability, programPath, temporaryFolder } from "../place.ts";
import type { Bench } from "../scenario.ts";
import { findInstalled } from "./installed.ts";
import { type Address, freePort, LOOPBACK, startServer } from "./server-process.ts";

const COMPATIBILITY_DATE = "2026-11-01";

/** Undefined when workerd is not installed. Objects are called with `POST /<key>`. */
export async function startWorkerd(
  bench: Bench,
  durability: Durability,
): Promise<Address | undefined> {
  const platform = `${process.platform}-${process.arch === "x64" ? "64" : process.arch}`;
  const workerd = await findInstalled([`@cloudflare/workerd-${platform}`], "bin/workerd");
  if (!workerd) return undefined;
  bench.uses(`workerd ${workerd.version}`);
  const folder = await temporaryFolder(bench, durability);
  const place = { host: LOOPBACK, port: await freePort("workerd") };
  const config = join(folder, "workerd.capnp");
  const store = join(folder, "objects");
  await mkdir(store);
  await writeFile(join(folder, "worker.mjs"), await readFile(programPath("durable-object")));
  await writeFile(config, configText(place, store));
  const args = ["serve", config];
  await startServer(bench, { name: "workerd", command: workerd.path, args, folder, place });
  return place;
}

/** workerd syncs its database at each commit, and has no setting for that. */
function configText({ host, port }: Address, store: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .counter),
    (name = "store", disk = (path = ${JSON.stringify(store)}, writable = true)),
  ],
  sockets = [(name = "http", address = "${host}:${port}", http = (), service = "main")],
);
const counter :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.mjs")],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  durableObjectNamespaces = [(className = "Counter", uniqueKey = "bench-counter", enableSql = true)],
  durableObjectStorage = (localDisk = "store"),
  bindings = [(name = "COUNTER", durableObjectNamespace = "Counter")],
);
`;
}
