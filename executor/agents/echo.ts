import type { InlineAgent } from "./agent.ts";

/** Says the prompt back, without a process: for tests, demonstrations and measuring what Berth itself costs. */
export const echo: InlineAgent = {
  name: "echo",
  kind: "inline",
  run: ({ prompt }) => ({ stdout: prompt.endsWith("\n") ? prompt : `${prompt}\n` }),
};
