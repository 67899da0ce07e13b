/**
 * One node of the runtime with the probe actors, as a process to be killed, paused and restarted. Settings come as
 * JSON in the first argument. Says `ready` once it hosts its share; SIGTERM drains it.
 */
import type { ActorRef } from "../../../protocols/ids.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { startNodeService } from "../../../runtime/nats/node-service.ts";
import { connectNats } from "../../../runtime/nats/transport.ts";
import { startNode } from "../../../runtime/node.ts";
import type { Step } from "../../../runtime/steps.ts";
import { probe, probeTools } from "../actors.ts";
import { eventually } from "../eventually.ts";
import type { NodeSettings } from "../node-process.ts";
import { skewed } from "../skewed-transport.ts";

const settings = JSON.parse(process.argv[2] ?? "{}") as NodeSettings;
const say = (what: object) => process.stdout.write(`${JSON.stringify(what)}\n`);
const counts = new Map<string, number>();
const never = new Int32Array(new SharedArrayBuffer(4));

function stall(step: Step, { key }: ActorRef): void {
  if (!settings.stallMs || step !== "handled" || !key.startsWith("stalled")) return;
  say({ stalled: key });
  Atomics.wait(never, 0, 0, settings.stallMs);
}

const transport = await connectNats({
  url: settings.url,
  name: settings.id,
  topology: {
    replicas: settings.replicas ?? 1,
    partitions: settings.partitions ?? 16,
    mailboxCapacity: 10_000,
    journalRetentionMs: 3_600_000,
  },
  logger: silentLogger,
  clock: systemClock,
});
const node = await startNode({
  transport: settings.isSkewed ? skewed(transport) : transport,
  definitions: [probe()],
  tools: probeTools(),
  clock: systemClock,
  logger: silentLogger,
  metrics: {
    count(name, _labels, by = 1) {
      counts.set(name, (counts.get(name) ?? 0) + by);
    },
    gauge() {},
    observe() {},
  },
  random: Math.random,
  nodeId: settings.id,
  version: settings.version ?? "0.0.0-test",
  drivers: [],
  onStep: stall,
  onReplaced() {
    say({ replaced: true });
    process.exit(3);
  },
});
const service = await startNodeService({
  connection: transport.connection,
  records: transport.records,
  node,
  version: settings.version ?? "0.0.0-test",
});
transport.bus.serve(`test.counts.${settings.id}`, undefined, (request) =>
  request.reply(new TextEncoder().encode(JSON.stringify(Object.fromEntries(counts)))),
);

async function leave(): Promise<void> {
  await node.stop();
  await service.stop();
  await transport.close();
  process.exit(0);
}
process.once("SIGTERM", () => void leave());

await eventually(() => node.isReady(), { within: 60_000, name: "ready" });
say({ ready: settings.id });
