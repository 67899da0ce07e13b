/**
 * One attempt at one job, from its order to the acknowledgement of its last frame. Invariants:
 * A1 the outcome is reported only when no process of the attempt is left and what it wrote is wiped: its workspace, and in
 *    a container of our own all the rest (K1, K2).
 * A2 it ends once: a cancel or time limit that comes after the program's own end changes nothing.
 * A3 an abandoned attempt reports no outcome: whoever took the worker away says how the job ended.
 * A4 the agent's secrets are kept until its process has them, and no longer.
 */

import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { DraftEvent, Outcome, Usage } from "../protocols/events.ts";
import type { JobOrder } from "../protocols/executor.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { AgentFact, ProgramAgent } from "./agents/agent.ts";
import { agentNamed } from "./agents/registry.ts";
import { brokeredAddresses } from "./brokered-addresses.ts";
import type { ExecutorConfig } from "./config.ts";
import type { Contact } from "./contact.ts";
import type { Premises } from "./container.ts";
import { agentEnvironment } from "./environment.ts";
import { decideOutOfMemory } from "./memory-cgroup.ts";
import { decideOutcome, type Ending, failedToStart } from "./outcome.ts";
import type { TreeUse } from "./process-tree.ts";
import { Program } from "./program.ts";
import type { Secrets } from "./sealed-environment.ts";
import { Uplink, type UplinkWire } from "./uplink.ts";
import { hasTranscript, openWorkspace, type Workspace } from "./workspace.ts";

export interface AttemptOptions {
  readonly order: JobOrder;
  readonly config: ExecutorConfig;
  readonly wire: UplinkWire;
  readonly clock: Clock;
  readonly contact: Contact;
  readonly log: Logger;
  /** Undefined: others live beside us, and what a job leaves outside of its workspace stays. */
  readonly container?: Premises | undefined;
}

/** A timer for longer would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const NOTHING: TreeUse = { cpuMs: 0, memoryBytes: 0 };

export class Attempt {
  readonly order: JobOrder;
  readonly holdsKeys: boolean;
  /** No process is left and the slot is free; rejects when that could not be brought about. */
  readonly ended: Promise<void>;
  readonly #options: AttemptOptions;
  readonly #uplink: Uplink;
  #program: Program | undefined;
  #ending: Ending | "abandoned" | undefined;
  #usage: Usage | undefined;
  #failure: string | undefined;
  #isPaused = false;
  #lastUse: TreeUse = NOTHING;
  #secrets: Secrets;

  /** Starts at once. */
  constructor(options: AttemptOptions, secrets: Secrets) {
    this.#secrets = secrets;
    this.holdsKeys = secrets !== undefined;
    this.order = options.order;
    this.#options = options;
    this.#uplink = new Uplink({
      ...options,
      worker: options.config.worker,
      partitions: options.config.partitions,
      onRefused: (error) => {
        options.log.warn({ code: error.code }, "the session refused the attempt: it is ended");
        this.abandon();
      },
      onPressure: (isHigh) => {
        this.#isPaused = isHigh;
        this.#program?.pause(isHigh);
      },
    });
    this.ended = this.#run();
  }

  /** Resolves when nothing of it is left to send, too. */
  get finished(): Promise<void> {
    return this.#uplink.finished;
  }

  cancel(): void {
    this.#stop("cancelled");
  }

  /** Ends it without a word (A3). */
  abandon(): void {
    this.#stop("abandoned");
  }

  /** Drops what is not acknowledged. */
  discard(): void {
    this.#uplink.close();
  }

  /** Throws `job.input_refused` or `job.not_running`. */
  input(text: string): void {
    if (this.#program === undefined) throw new BerthError("job.not_running");
    if (!this.#program.input(text)) throw new BerthError("job.input_refused");
  }

  use(): TreeUse {
    if (this.#program?.isRunning) this.#lastUse = this.#program.use();
    return this.#lastUse;
  }

  /** A2. */
  #stop(ending: Ending | "abandoned"): void {
    if (this.#ending === "abandoned") return;
    if (
      ending !== "abandoned" &&
      (this.#ending !== undefined || this.#program?.isRunning === false)
    )
      return;
    this.#ending = ending;
    this.#program?.kill();
  }

  async #run(): Promise<void> {
    // The reply to the order goes out first; what follows may keep the event loop busy.
    await Promise.resolve();
    const { clock, order } = this.#options;
    const agent = tryAgent(order.agent);
    if (agent instanceof BerthError) return this.#uplink.end(failedToStart(agent));
    if (agent.kind === "inline") {
      this.#started();
      this.#event("agent.output", { stream: "stdout", text: agent.run(order).stdout, offset: 0 });
      return this.#uplink.end({ state: "succeeded", exit_code: 0 });
    }
    const limit = order.timeout_ms === null ? null : Math.min(order.timeout_ms, LONGEST_TIMER_MS);
    const cancelLimit =
      limit === null ? () => {} : clock.after(limit, () => this.#stop("timed_out"));
    try {
      await this.#runProgram(agent);
    } finally {
      cancelLimit();
    }
  }

  /** A1. */
  async #runProgram(agent: ProgramAgent): Promise<void> {
    const { config, order, container } = this.#options;
    let workspace: Workspace | undefined;
    let outcome: Outcome;
    await container?.enter().catch((thrown: unknown) => {
      throw this.#giveUp(thrown);
    });
    try {
      workspace = openWorkspace(config.workspace, `${order.job_id}-${order.attempt}`);
      outcome = await this.#outcomeOf(agent, workspace);
    } catch (thrown) {
      // A program that could not be ended has no outcome to report (A1): the worker goes, and takes it along.
      if (this.#program !== undefined) throw this.#giveUp(thrown);
      outcome = failedToStart(thrown);
    }
    try {
      await workspace?.wipe();
      await container?.leave();
    } finally {
      if (this.#ending === "abandoned") this.#uplink.last();
      else this.#uplink.end(outcome);
    }
  }

  #giveUp(thrown: unknown): BerthError {
    this.#ending = "abandoned";
    this.#uplink.last();
    return asBerthError(thrown);
  }

  async #outcomeOf(agent: ProgramAgent, workspace: Workspace): Promise<Outcome> {
    const { container } = this.#options;
    const memory = container?.memory();
    if (this.#ending === undefined) this.#program = await this.#start(agent, workspace);
    const program = this.#program;
    if (program === undefined) return { state: "cancelled", processes_killed: 0 };
    this.#started(program.pid);
    if (this.#isPaused) program.pause(true);
    // It may have been stopped while it started.
    if (this.#ending !== undefined) program.kill();
    const end = await program.ended;
    return decideOutcome({
      agent: agent.name,
      end,
      ending: this.#ending === "abandoned" ? "cancelled" : this.#ending,
      limitMs: this.order.timeout_ms ?? 0,
      usage: this.#usage,
      failure: this.#failure,
      outOfMemory: decideOutOfMemory(memory, container?.memory()),
    });
  }

  async #start(agent: ProgramAgent, { place }: Workspace): Promise<Program> {
    const { config, clock, container } = this.#options;
    const resumable = await this.#resumable(agent, place.home);
    const addresses = brokeredAddresses(resumable.brokered, config.proxyUrl);
    const order = { ...resumable, env: { ...resumable.env, ...this.#secrets, ...addresses } };
    this.#secrets = undefined; // A4
    const launch = agent.launch(order, place);
    const env = agentEnvironment({ ...config, order, place, extra: launch.env });
    return await Program.start({
      agent: agent.name,
      launch,
      env,
      cwd: place.work,
      run: [config.worker, order.job_id, order.attempt],
      outputLimitBytes: config.outputLimitBytes,
      graceMs: config.graceMs,
      clock,
      onFact: (fact) => this.#take(fact),
      container,
    });
  }

  /** An agent asked to resume what it no longer has would fail: it starts afresh, and says so. */
  async #resumable(agent: ProgramAgent, home: string): Promise<JobOrder> {
    const { agent_session, ...fresh } = this.order;
    if (agent_session === undefined) return this.order;
    const transcript = agent.transcript?.(agent_session);
    if (transcript === undefined) return fresh;
    if (await hasTranscript(home, transcript)) return this.order;
    const text =
      "The agent's earlier conversation is not in this workspace any more: it starts afresh.";
    this.#event("agent.message", { role: "system", text });
    return fresh;
  }

  #take(fact: AgentFact): void {
    switch (fact.fact) {
      case "event":
        this.#event(fact.event.type, fact.event.data);
        break;
      case "session":
        this.#uplink.agentSession(fact.id);
        break;
      case "usage":
        this.#usage = fact.usage;
        break;
      case "failure":
        this.#failure = fact.message;
    }
  }

  #started(pid?: number): void {
    const { worker } = this.#options.config;
    const data = { worker, attempt: this.order.attempt, ...(pid === undefined ? {} : { pid }) };
    this.#event("job.started", data);
  }

  #event(type: DraftEvent["type"], data: Record<string, unknown>): void {
    this.#uplink.push({ type, at: this.#options.clock.now(), data });
  }
}

function tryAgent(name: string) {
  try {
    return agentNamed(name);
  } catch (thrown) {
    if (thrown instanceof BerthError) return thrown;
    throw thrown;
  }
}
