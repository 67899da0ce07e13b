import { setMaxListeners } from "node:events";

/** A controller on whose signal any number of waits may listen at once: Node takes eleven for a leak. */
export function sharedAbort(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
