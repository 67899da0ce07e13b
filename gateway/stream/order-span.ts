/** A frame that reaches an actor is a trace of its own, as a request is. */
import type { ClientFrame } from "../../protocols/frames.ts";
import type { Tracer } from "../../runtime/tracing.ts";
import { thrownError } from "../problem.ts";

const ORDERS: ReadonlySet<ClientFrame["type"]> = new Set(["submit", "cancel", "input"]);

export async function inOrderSpan(
  tracer: Tracer,
  type: ClientFrame["type"],
  handle: () => Promise<void>,
): Promise<void> {
  if (!tracer.isOn || !ORDERS.has(type)) return handle();
  const span = tracer.start(`WS ${type}`, { kind: "server" });
  try {
    await tracer.within(span, handle);
  } catch (thrown) {
    const error = thrownError(thrown);
    if (error.status >= 500) span.fail(error);
    throw thrown;
  } finally {
    span.end();
  }
}
