/** A port of this machine for something that we start: the configured one, or another where that is taken and was not asked for. */
import type { Config } from "./config.ts";
import { choosePort } from "./ports.ts";

export async function chosenPort(
  config: Config,
  variable: "BERTH_PORT" | "BERTH_METRICS_PORT" | "BERTH_NATS_PORT",
  name: string,
  print: (line: string) => void,
): Promise<number> {
  return await choosePort(
    {
      name,
      host: variable === "BERTH_NATS_PORT" ? "127.0.0.1" : config.BERTH_HOST,
      port: config[variable],
      isExplicit: config.explicitPorts.has(variable),
    },
    print,
  );
}
