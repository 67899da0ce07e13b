/** What the nodes themselves say when a soak finds something wrong: for whoever has to find out why. */
import type { DockerBerth } from "../support/docker-berth.ts";

const VIEWS = ["/v1/nodes", "/v1/workers", "/v1/queues", "/v1/dead-letters", "/v1/actors"] as const;
const ANSWER_MS = 10_000;

/** One line for each view. */
export async function evidenceOf({ berth }: DockerBerth): Promise<string[]> {
  const { keys, url } = await berth.dev();
  const headers = { authorization: `Bearer ${keys.operator}` };
  const read = async (path: string) => {
    try {
      const answer = await fetch(url + path, { headers, signal: AbortSignal.timeout(ANSWER_MS) });
      return `${path}: ${await answer.text()}`;
    } catch (thrown) {
      return `${path}: ${String(thrown)}`;
    }
  };
  return [...(await Promise.all(VIEWS.map(read))), `said: ${berth.output().slice(-4_000)}`];
}
