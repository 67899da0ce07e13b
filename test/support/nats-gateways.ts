/** Gateways over a real broker: what the tests of one file share. */
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import { type GatewayRig, type RigOptions, startGatewayRig } from "./gateway-rig.ts";
import { startNats, type TestNats } from "./nats.ts";

export interface NatsGateways extends GatewayRig {
  readonly nats: TestNats;
  /** Of each gateway. */
  readonly urls: readonly string[];
}

/** So many gateways of one node; with them the broker goes, and nothing is left when they cannot be started. */
export async function startNatsGateways(
  count: number,
  options: Omit<RigOptions, "transport"> = {},
): Promise<NatsGateways> {
  const nats = await startNats();
  let rig: GatewayRig | undefined;
  const dispose = async () => {
    await rig?.[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
  };
  try {
    rig = await startGatewayRig({ ...options, transport: () => connect(nats.url) });
    const urls = [rig.url];
    while (urls.length < count) urls.push((await rig.another()).url);
    return { ...rig, nats, urls, [Symbol.asyncDispose]: dispose };
  } catch (thrown) {
    await dispose();
    throw thrown;
  }
}

function connect(url: string) {
  const topology = {
    replicas: 1,
    partitions: 4,
    mailboxCapacity: 1_000,
    journalRetentionMs: 3_600_000,
  };
  return connectNats({ url, name: "rig", clock: systemClock, logger: silentLogger, topology });
}
