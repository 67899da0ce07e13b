/** A running worker: connection, jobs, presence and health, put together and taken apart in order. */
import { pack } from "msgpackr";
import { asBerthError } from "../protocols/errors.ts";
import type { BrokerCredential, DownReply } from "../protocols/executor.ts";
import { subjects } from "../protocols/subjects.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { ExecutorConfig } from "./config.ts";
import { Contact } from "./contact.ts";
import type { Premises } from "./container.ts";
import { parseDownRequest } from "./down.ts";
import { Executor } from "./executor.ts";
import type { Health } from "./health.ts";
import { Link } from "./link.ts";
import { beat, sayHello } from "./presence.ts";

/** Runs until told to stop; resolves with the reason when nothing of it is left. */
export async function runWorker(options: {
  readonly config: ExecutorConfig;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborts when the process is asked to end. */
  readonly signal: AbortSignal;
  /** Is told when the worker is ready: when a host knows it. */
  readonly health?: Health | undefined;
  /** When it is the worker's own. */
  readonly container?: Premises | undefined;
}): Promise<string> {
  const { config, clock, log, health, container } = options;
  const stopping = new AbortController();
  const onStop = (reason: string) => stopping.abort(reason);
  options.signal.addEventListener("abort", () => onStop("the process was asked to end"), {
    once: true,
  });
  const contact = new Contact(clock);
  const link = await connected({ config, clock, log, onStop, signal: stopping.signal });
  if (link === undefined) {
    log.info({ reason: String(stopping.signal.reason) }, "worker ended");
    return String(stopping.signal.reason);
  }
  const executor = new Executor({ config, wire: link, clock, contact, log, container, onStop });
  await link.serve(subjects.down(config.worker), (data) =>
    Promise.resolve(pack(answer(executor, data))),
  );
  const presence = {
    ...config,
    wire: link,
    clock,
    contact,
    status: () => ({
      ...executor.status(),
      ...(link.validity ? { credential: link.validity } : {}),
    }),
    onCredential: (fresh: BrokerCredential) => {
      link.renew(fresh).catch((thrown: unknown) => {
        log.warn({ error: asBerthError(thrown).message }, "a new credential was of no use yet");
      });
    },
    onStop,
    signal: stopping.signal,
  };
  let isKnown = false;
  if (health !== undefined)
    health.isReady = () => isKnown && link.isConnected && !stopping.signal.aborted;
  isKnown = await sayHello(presence);
  log.info({ uptime_ms: executor.status().uptime_ms, slots: config.slots }, "worker ready");
  await beat(presence);
  log.info({ reason: String(stopping.signal.reason) }, "worker ending");
  await executor.stop();
  await link.close();
  const reason = String(stopping.signal.reason);
  // The last line: what its host tells of its end.
  log.info({ reason }, "worker ended");
  return reason;
}

/** Undefined when it is told to end first, or no broker lets it in for as long as makes it an orphan (B1). */
async function connected({
  config,
  clock,
  log,
  onStop,
  signal,
}: {
  readonly config: ExecutorConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onStop: (reason: string) => void;
  readonly signal: AbortSignal;
}): Promise<Link | undefined> {
  const { worker: name, natsUrl: url, credential, natsTls: tls } = config;
  const stopTimer = clock.after(config.orphanAfterMs, () =>
    onStop("no broker has let it in for too long"),
  );
  const opening = Link.open({ url, name, credential, tls, log });
  const ended = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  try {
    const link = await Promise.race([opening, ended]);
    // One that comes after all is nobody's.
    if (link === undefined) opening.then((late) => late.close()).catch(() => undefined);
    return link;
  } finally {
    stopTimer();
  }
}

function answer(executor: Executor, data: Uint8Array): DownReply {
  try {
    return executor.handle(parseDownRequest(data));
  } catch (thrown) {
    return { ok: false, error: asBerthError(thrown).toWire() };
  }
}
