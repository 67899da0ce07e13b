/** One request to a node that hosts a driver. */
import {
  DRIVER_TIMEOUT_MS,
  DRIVER_VERBS,
  type DriverInput,
  type DriverOutput,
  type DriverVerb,
  driverReplySchema,
} from "../../protocols/driver.ts";
import { BerthError, errorFromWire, isErrorCode } from "../../protocols/errors.ts";
import type { NodeRecord } from "../../protocols/records.ts";
import { subjects } from "../../protocols/subjects.ts";
import { pack, unpack } from "../../runtime/ask-codec.ts";
import type { ToolOptions } from "./tool-options.ts";

/** Over the host's own bound, so that its answer about a time-out arrives before ours. */
const MARGIN_MS = 5_000;
/** How often a request that waits looks whether the run of the node that has it is still there. */
const LOOK_MS = 1_000;

/**
 * Rejects with the host's error, with `actor.moved` when nobody serves that node's driver, `ask.timeout`, or
 * `driver.unavailable` when the node has ended or started anew meanwhile: no answer will come then.
 */
export async function requestDriver<V extends DriverVerb>(
  options: Pick<ToolOptions, "bus" | "hosts" | "clock">,
  node: NodeRecord,
  verb: V,
  input: DriverInput<V>,
): Promise<DriverOutput<V>> {
  const timeoutMs = DRIVER_TIMEOUT_MS[verb] + MARGIN_MS;
  const settled = new AbortController();
  try {
    const answer = await Promise.race([
      options.bus.request(subjects.driver(node.id, verb), pack(input), timeoutMs),
      endOf(options, node, settled.signal),
    ]);
    const reply = driverReplySchema.parse(unpack(answer));
    if (reply.ok) return DRIVER_VERBS[verb].output.parse(reply.output) as DriverOutput<V>;
    const { code, message } = reply.error;
    throw errorFromWire({ code: isErrorCode(code) ? code : "internal.unexpected", message });
  } finally {
    settled.abort();
  }
}

/** Rejects when that run of the node is gone. */
async function endOf(
  { hosts, clock }: Pick<ToolOptions, "hosts" | "clock">,
  { id, incarnation }: NodeRecord,
  settled: AbortSignal,
): Promise<never> {
  const isThere = () => hosts().some((node) => node.id === id && node.incarnation === incarnation);
  do await clock.sleep(LOOK_MS, settled);
  while (!settled.aborted && isThere());
  throw new BerthError("driver.unavailable", `node ${id} ended before it could answer`);
}
