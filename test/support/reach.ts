/** What a worker's container can connect to. */
import type { TestWorker } from "./worker-networks.ts";

export interface Place {
  readonly host: string;
  readonly port: number;
}

const CONNECT = `
  const { connect } = require("node:net");
  const one = (place) => new Promise((resolve) => {
    const socket = connect({ ...place, timeout: 4000 });
    const end = (isOpen) => () => { resolve(isOpen); socket.destroy(); };
    socket.on("connect", end(true)).on("timeout", end(false)).on("error", end(false));
  });
  Promise.all(JSON.parse(process.argv[1]).map(one)).then((all) => {
    process.stdout.write(JSON.stringify(all), () => process.exit());
  });`;

/** Tries all places at once; for each, in their order, whether somebody took the connection. */
export async function tryPlaces(worker: TestWorker, places: readonly Place[]): Promise<boolean[]> {
  return JSON.parse(await worker.run(CONNECT, JSON.stringify(places))) as boolean[];
}
