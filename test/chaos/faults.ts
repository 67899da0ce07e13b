/** Makes the faults of a schedule happen, each at its time, and undoes each. */
import { systemClock } from "../../runtime/clock.ts";
import { SERVERS } from "../support/nats-cluster.ts";
import type { Fault } from "./schedule.ts";
import { NODE_REST_MS, QUIET_MS, SERVER_FAULTS, SERVER_REST_MS } from "./schedule.ts";
import type { Stage } from "./stage.ts";

export interface InjectedFault {
  readonly fault: Fault;
  /** Whom it hit: `n2`, `s1`. */
  readonly victim: string;
  /** Milliseconds from the start of the load. */
  readonly startedMs: number;
  /** When it was undone: the victim runs and is connected again, but may not have caught up. */
  readonly endedMs: number;
}

interface Injection {
  readonly stage: Stage;
  readonly schedule: readonly Fault[];
  /** A fault whose turn comes later than this (ms), because others took longer than planned, is left out. */
  readonly untilMs: number;
  /** Milliseconds from the start of the load. */
  readonly elapsed: () => number;
  readonly signal: AbortSignal;
  /** Called as a fault begins; waited for. */
  readonly onFault: (fault: Fault, victim: string) => Promise<void>;
}

/** What the lanes know of each other: a schedule whose faults take longer than planned keeps S3 all the same. */
interface Quiet {
  isServerFaulty: boolean;
  /** No server fault begins before. */
  untilMs: number;
}

/** A fault of a server (S1) or a kill (S3) waits so long for the cluster to be whole; it is left out otherwise. */
const WHOLE_MS = 60_000;
const PAUSE_MS = 500;

const isServerFault = ({ kind }: Fault) => (SERVER_FAULTS as readonly string[]).includes(kind);

/** Resolves when all faults are over and undone. */
export async function injectFaults(parts: Injection): Promise<InjectedFault[]> {
  const done: InjectedFault[] = [];
  const quiet: Quiet = { isServerFaulty: false, untilMs: 0 };
  // One after the other in each lane (S1, S2); the lanes overlap.
  const lane = async (faults: readonly Fault[], restMs: number) => {
    let restedMs = 0;
    for (const fault of faults) {
      // A fault that took longer than planned moves those behind it: they keep their distance.
      const atMs = Math.max(fault.atMs, restedMs);
      await systemClock.sleep(Math.max(0, atMs - parts.elapsed()), parts.signal);
      if (parts.signal.aborted || parts.elapsed() > parts.untilMs) return;
      const injected = await inject(parts, fault, quiet);
      if (injected) done.push(injected);
      restedMs = parts.elapsed() + restMs;
    }
  };
  await Promise.all([
    lane(parts.schedule.filter(isServerFault), SERVER_REST_MS),
    lane(
      parts.schedule.filter((fault) => !isServerFault(fault)),
      NODE_REST_MS,
    ),
  ]);
  return done.toSorted((a, b) => a.startedMs - b.startedMs);
}

async function inject(
  parts: Injection,
  fault: Fault,
  quiet: Quiet,
): Promise<InjectedFault | undefined> {
  const { elapsed, onFault, stage } = parts;
  const victim = isServerFault(fault) ? SERVERS[fault.target] : nodeOf(stage, fault).id;
  if (!(await isItsMoment(parts, fault, quiet))) return undefined;
  if (isServerFault(fault)) quiet.isServerFaulty = true;
  if (fault.kind === "kill-node") quiet.untilMs = elapsed() + QUIET_MS; // S3
  try {
    await onFault(fault, victim);
    const startedMs = elapsed();
    await perform(parts, fault);
    return { fault, victim, startedMs, endedMs: elapsed() };
  } finally {
    if (isServerFault(fault)) quiet.isServerFaulty = false;
  }
}

/** Waits for it. False when it does not come in time; nothing has happened since when it is true. */
async function isItsMoment(parts: Injection, fault: Fault, quiet: Quiet): Promise<boolean> {
  const { elapsed, signal, stage } = parts;
  if (!isServerFault(fault) && fault.kind !== "kill-node") return true;
  const lastMs = elapsed() + WHOLE_MS;
  while (!signal.aborted && elapsed() < lastMs) {
    const isWhole = await stage.servers.healthy(lastMs - elapsed()).then(
      () => true,
      () => false,
    );
    if (!isWhole) return false;
    const waitMs = isServerFault(fault) ? quiet.untilMs - elapsed() : 0;
    if (waitMs <= 0 && !quiet.isServerFaulty) return true;
    await systemClock.sleep(Math.max(waitMs, PAUSE_MS), signal);
  }
  return false;
}

function nodeOf(stage: Stage, { target }: Fault) {
  const node = stage.nodes[target];
  if (!node) throw new Error(`there is no node ${target}`);
  return node;
}

/** Always undoes what it did, whatever ends it. */
async function perform({ signal, stage }: Injection, fault: Fault): Promise<void> {
  const { servers } = stage;
  const { forMs, how, target } = fault;
  const hold = () => systemClock.sleep(forMs, signal);
  const server = SERVERS[target];
  const node = nodeOf(stage, fault);
  switch (fault.kind) {
    case "kill-node":
      await node.process.end("SIGKILL");
      await hold();
      return stage.startAgain(node);
    case "pause-node":
      node.process.signal("SIGSTOP");
      await hold();
      return node.process.signal("SIGCONT");
    case "restart-node":
      await stage.leave(node);
      return stage.startAgain(node);
    case "cut-node":
      node.link.cut(how);
      await hold();
      return node.link.heal();
    case "kill-server":
      await servers.kill(server);
      await hold();
      return servers.start(server);
    case "pause-server":
      servers.pause(server);
      await hold();
      return servers.resume(server);
    case "isolate-server":
      servers.isolate(server, how);
      await hold();
      return servers.heal();
  }
}
