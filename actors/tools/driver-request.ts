/** One request to a node that hosts a driver. */
import {
  DRIVER_TIMEOUT_MS,
  DRIVER_VERBS,
  type DriverInput,
  type DriverOutput,
  type DriverVerb,
  driverReplySchema,
} from "../../protocols/driver.ts";
import { errorFromWire, isErrorCode } from "../../protocols/errors.ts";
import { subjects } from "../../protocols/subjects.ts";
import { pack, unpack } from "../../runtime/ask-codec.ts";
import type { ToolOptions } from "./tool-options.ts";

/** Over the host's own bound, so that its answer about a time-out arrives before ours. */
const MARGIN_MS = 5_000;

/** Rejects with the host's error, with `actor.moved` when nobody serves that node's driver, or `ask.timeout`. */
export async function requestDriver<V extends DriverVerb>(
  { bus }: Pick<ToolOptions, "bus">,
  node: string,
  verb: V,
  input: DriverInput<V>,
): Promise<DriverOutput<V>> {
  const timeoutMs = DRIVER_TIMEOUT_MS[verb] + MARGIN_MS;
  const answer = await bus.request(subjects.driver(node, verb), pack(input), timeoutMs);
  const reply = driverReplySchema.parse(unpack(answer));
  if (reply.ok) return DRIVER_VERBS[verb].output.parse(reply.output) as DriverOutput<V>;
  const { code, message } = reply.error;
  throw errorFromWire({ code: isErrorCode(code) ? code : "internal.unexpected", message });
}
