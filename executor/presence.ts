/**
 * How a worker makes itself known: it says hello until a host answers, then beats. Invariants:
 * B1 every answer counts as contact; without contact for the orphan time the worker is told to stop.
 * B2 a silence is judged only after a beat has been tried: a worker that was paused asks before it gives up.
 */
import { pack, unpack } from "msgpackr";
import type { ContactReply } from "../protocols/driver.ts";
import type { BrokerCredential, WorkerStatus } from "../protocols/executor.ts";
import { subjects } from "../protocols/subjects.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Contact } from "./contact.ts";
import type { UplinkWire } from "./uplink.ts";

export interface PresenceOptions {
  readonly worker: string;
  readonly orphanAfterMs: number;
  readonly wire: UplinkWire;
  readonly clock: Clock;
  readonly contact: Contact;
  readonly status: () => WorkerStatus;
  readonly onStop: (reason: string) => void;
  /** A host has renewed our credential. */
  readonly onCredential: (credential: BrokerCredential) => void;
  readonly signal: AbortSignal;
}

const HELLO_PAUSE_MS = 200;
const BEAT_PAUSE_MS = 2_000;
const ANSWER_MS = 2_000;

/** Resolves when the hello was answered; false if the worker is to stop instead. */
export async function sayHello(options: PresenceOptions): Promise<boolean> {
  while (!options.signal.aborted) {
    if (await isAnswered(options, subjects.hello(options.worker))) return true;
    await pause(options, HELLO_PAUSE_MS);
  }
  return false;
}

/** Resolves when the worker is to stop. */
export async function beat(options: PresenceOptions): Promise<void> {
  while (!options.signal.aborted) {
    await pause(options, BEAT_PAUSE_MS);
    if (!options.signal.aborted) await isAnswered(options, subjects.beat(options.worker));
  }
}

/** Ends early when the connection is back, so that hosts hear of us at once. */
async function pause({ clock, wire, signal }: PresenceOptions, ms: number): Promise<void> {
  const wake = new AbortController();
  const onWake = () => wake.abort();
  const sources = [signal, wire.reconnected()];
  for (const source of sources) source.addEventListener("abort", onWake, { once: true });
  if (signal.aborted) onWake();
  await clock.sleep(ms, wake.signal);
  for (const source of sources) source.removeEventListener("abort", onWake);
}

async function isAnswered(options: PresenceOptions, subject: string): Promise<boolean> {
  const { wire, contact } = options;
  try {
    const reply = unpack(
      await wire.request(subject, pack(options.status()), ANSWER_MS),
    ) as ContactReply;
    contact.seen();
    if (reply.ok) {
      if (reply.credential) options.onCredential(reply.credential);
      return true;
    }
    if (reply.error.code === "worker.not_found")
      options.onStop("no host knows this worker any more");
  } catch {
    // Nobody answered.
  }
  if (contact.silentMs > options.orphanAfterMs) options.onStop("no node has answered for too long");
  return false;
}
