/** Where the CPU time of this process goes, by sampling: shares of modules, not of functions. */
import { type Profiler, Session } from "node:inspector/promises";

export interface Share {
  /** A file of ours, a package, or what V8 calls a thing of its own. */
  readonly name: string;
  /** Of the time in which the process was not idle, 0 to 1. */
  readonly share: number;
}

const SAMPLE_US = 500;
const SHOWN = 12;
const IDLE = "(idle)";

export class CpuProfile {
  readonly #session = new Session();

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post("Profiler.enable");
    await this.#session.post("Profiler.setSamplingInterval", { interval: SAMPLE_US });
    await this.#session.post("Profiler.start");
  }

  async stop(): Promise<readonly Share[]> {
    const { profile } = await this.#session.post("Profiler.stop");
    this.#session.disconnect();
    return sharesOf(profile);
  }
}

/** The largest shares first. Pure. */
export function sharesOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Share[] {
  const names = new Map(nodes.map(({ callFrame, id }) => [id, moduleOf(callFrame)]));
  const times = new Map<string, number>();
  let busy = 0;
  for (const [at, id] of samples.entries()) {
    const name = names.get(id) ?? IDLE;
    if (name === IDLE) continue;
    // A delta is the time since the sample before.
    const spent = timeDeltas[at + 1] ?? 0;
    busy += spent;
    times.set(name, (times.get(name) ?? 0) + spent);
  }
  return [...times]
    .map(([name, spent]) => ({ name, share: spent / busy }))
    .toSorted((a, b) => b.share - a.share)
    .slice(0, SHOWN);
}

function moduleOf({ functionName, url }: { functionName: string; url: string }): string {
  if (url === "") return functionName.startsWith("(") ? functionName : "(built in)";
  if (url.startsWith("node:")) return url;
  const parts = url.split("/node_modules/");
  const inside = parts.at(-1) ?? "";
  if (parts.length > 1) {
    return inside
      .split("/")
      .slice(0, inside.startsWith("@") ? 2 : 1)
      .join("/");
  }
  return url.slice(url.lastIndexOf("/dist/") + 1).replace(/^dist\//, "");
}
