import type { ClientEnvironment } from "./target.ts";

/** Reads the variables of the command line. */
export function clientEnvironment(variables: NodeJS.ProcessEnv = process.env): ClientEnvironment {
  return {
    key: variables["BERTH_KEY"] || undefined,
    url: variables["BERTH_URL"] || undefined,
    noColor: (variables["NO_COLOR"] ?? "") !== "",
  };
}
