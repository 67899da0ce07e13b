/**
 * Workers as hardened containers of a Docker Engine. What is there is read from the engine's labels and from claims,
 * never remembered on disk: a driver that starts knows its own again.
 *
 * Invariants:
 * K1 A worker has at most one container: its name is the worker's, and the engine gives a name once.
 * K2, K3 are kept in `endings.ts`.
 * K4 Workers outlive us, and the engine's own restart where it is set to let containers live.
 */
import { asBerthError } from "../../../protocols/errors.ts";
import type { StartStep, WorkerSpec, WorkerUse } from "../../../protocols/executor.ts";
import { parseId } from "../../../protocols/ids.ts";
import type { Clock } from "../../../runtime/clock.ts";
import { formatIdentity, identityOf } from "../../identity.ts";
import type { Driver, LiveWorker, Wanted, WorkerConnection, WorkerExit } from "../driver.ts";
import { ExitReports } from "../exit-reports.ts";
import { adoptAll } from "./adoption.ts";
import type { DormantPool } from "./dormant-pool.ts";
import { Endings, type EndingsParts } from "./endings.ts";
import type { ContainerEvent } from "./engine.ts";
import { watchEngine } from "./engine-watch.ts";
import { containerName, filterOf, LABELS, partLabels, specLabels } from "./labels.ts";
import type { NetworkOwner, Networks } from "./networks.ts";
import { type Known, Roster } from "./roster.ts";
import type { Strangers } from "./strangers.ts";
import { sweepAll } from "./sweeping.ts";
import type { Workspaces } from "./workspaces.ts";

export interface DockerDriverParts extends Omit<EndingsParts, "roster" | "pool" | "onExit"> {
  readonly image: string;
  readonly networks: Networks;
  readonly workspaces: Workspaces;
  readonly strangers: Strangers;
  /** `isQuiet` is the driver's word that no worker starts. */
  readonly pool: (isQuiet: () => boolean) => DormantPool;
  readonly doorPort: number;
  /** The proxy as a worker is told of it; undefined: there is none. */
  readonly proxyUrl?: (worker: string, gateway: string) => string;
  readonly clock: Clock;
  /** For a worker to end its jobs after SIGTERM (default 10 s). */
  readonly graceMs?: number;
}

const DEFAULT_GRACE_MS = 10_000;
/** Readings of the engine at once: each costs it a look at the kernel's files. */
const READERS = 8;

export class DockerDriver implements Driver {
  readonly name = "docker";
  readonly isolates = true;
  readonly #parts: DockerDriverParts;
  readonly #pool: DormantPool;
  readonly #roster: Roster;
  readonly #endings: Endings;
  readonly #closing = new AbortController();
  readonly #exits = new ExitReports();
  #onChange: () => void = () => {};
  #looking: Promise<void> = Promise.resolve();

  private constructor(parts: DockerDriverParts) {
    this.#parts = parts;
    this.#roster = new Roster(() => this.#pool);
    this.#pool = parts.pool(() => this.#roster.starting.size === 0);
    this.#endings = new Endings({
      ...parts,
      roster: this.#roster,
      pool: this.#pool,
      onExit: (exit) => this.#exits.tell(exit),
    });
  }

  /** Adopts what lives, and cleans up after what died meanwhile. */
  static async open(parts: DockerDriverParts): Promise<DockerDriver> {
    const driver = new DockerDriver(parts);
    await adoptAll(driver.#all);
    void watchEngine(
      {
        ...parts,
        filters: filterOf(parts.owner),
        onEvent: (event) => driver.#heard(event),
        onOpen: () => driver.#engineIsBack(),
      },
      driver.#closing.signal,
    );
    driver.#pool.refill();
    return driver;
  }

  get weaknesses(): readonly string[] {
    return [...this.#parts.networks.weaknesses, ...this.#parts.workspaces.weaknesses];
  }

  async start(
    spec: WorkerSpec,
    connection: WorkerConnection,
    onStep: (step: StartStep) => void = () => {},
  ): Promise<void> {
    parseId(spec.worker, "worker");
    const { known, starting } = this.#roster;
    if (known.has(spec.worker)) return;
    const started = starting.get(spec.worker) ?? this.#start(spec, connection, onStep);
    starting.set(spec.worker, started);
    try {
      await started;
    } finally {
      starting.delete(spec.worker);
      this.#pool.refill();
    }
  }

  async stop(
    worker: string,
    { keepWorkspace }: { readonly keepWorkspace: boolean },
  ): Promise<void> {
    parseId(worker, "worker");
    await this.#roster.starting.get(worker)?.catch(() => {});
    const known = this.#roster.known.get(worker);
    if (known === undefined) return;
    await this.#endings.stop(known, this.#parts.graceMs ?? DEFAULT_GRACE_MS);
    const { tenant, workspace, workspace_key: key } = known.spec;
    if (keepWorkspace || workspace === "job" || this.#roster.mayUse(tenant, key)) return;
    await this.removeWorkspace(tenant, key);
  }

  list(): Promise<readonly LiveWorker[]> {
    const live = [...this.#roster.known.values()];
    return Promise.resolve(live.map(({ spec }) => ({ worker: spec.worker, spec })));
  }

  /** A worker that lives; undefined from the beginning of its end on. */
  find(worker: string): Pick<Known, "spec" | "gateway"> | undefined {
    const known = this.#roster.known.get(worker);
    return known?.isEnding === false ? known : undefined;
  }

  /** As the roster says it. */
  tenantAt(gateway: string): string | undefined {
    return this.#roster.tenantAt(gateway);
  }

  watch(onExit: (exit: WorkerExit) => void): void {
    this.#exits.watch(onExit);
  }

  onChange(fn: () => void): void {
    this.#onChange = fn;
  }

  async removeWorkspace(tenant: string, key: string): Promise<void> {
    await this.#parts.workspaces.remove(tenant, key);
  }

  async use(): Promise<ReadonlyMap<string, WorkerUse>> {
    const { engine, image } = this.#parts;
    const waiting = [...this.#roster.known.values()];
    const readings = new Map<string, WorkerUse>();
    const read = async () => {
      for (let known = waiting.shift(); known !== undefined; known = waiting.shift()) {
        const use = await engine.use(known.container, image);
        if (use !== undefined) readings.set(known.spec.worker, use);
      }
    };
    await Promise.all(Array.from({ length: READERS }, read));
    return readings;
  }

  dormant(): Readonly<Record<string, number>> {
    return this.#pool.counts();
  }

  async log(worker: string): Promise<string | undefined> {
    const known = this.#roster.known.get(worker);
    const { engine, logs } = this.#parts;
    return known === undefined ? logs.read(worker) : await engine.logTail(known.container);
  }

  async sweep(wanted: Wanted): Promise<readonly string[]> {
    await this.#endings.look();
    const removed = await sweepAll(this.#all, wanted);
    this.#pool.refill();
    return removed;
  }

  /** K4. */
  async dispose({ removeAll } = { removeAll: false }): Promise<void> {
    const { networks, sandboxes, workspaces } = this.#parts;
    this.#closing.abort();
    this.#exits.close();
    await this.#pool.close();
    await this.#looking;
    if (removeAll) {
      for (const sandbox of this.#pool.all()) await sandboxes.destroy(sandbox);
      await networks.sweep({ all: true });
      await workspaces.dispose();
    }
    await networks.close();
  }

  get #all() {
    return {
      ...this.#parts,
      roster: this.#roster,
      pool: this.#pool,
      endings: this.#endings,
    };
  }

  async #start(
    spec: WorkerSpec,
    connection: WorkerConnection,
    onStep: (step: StartStep) => void,
  ): Promise<void> {
    const { known } = this.#roster;
    try {
      if (await this.#wake(spec, connection, onStep)) return;
      const made = await this.#make(spec, onStep);
      known.set(spec.worker, made);
      await this.#tell(made, connection);
    } catch (thrown) {
      const half = known.get(spec.worker);
      known.delete(spec.worker);
      // What stays is found by a sweep.
      if (half !== undefined) await this.#endings.destroy(half).catch(() => {});
      throw asBerthError(thrown, "driver.failed");
    }
  }

  /** Out of the dormant ones. False when none fits, or the one that did could not be woken. */
  async #wake(
    spec: WorkerSpec,
    connection: WorkerConnection,
    onStep: (step: StartStep) => void,
  ): Promise<boolean> {
    const { claims, engine, log, owner, workspaces } = this.#parts;
    const sandbox = await this.#pool.take(spec);
    if (sandbox === undefined) return false;
    onStep("claiming");
    const known: Known = { ...sandbox, spec, isClaimed: true, isEnding: false };
    this.#roster.known.set(spec.worker, known);
    try {
      // Side by side: until it is told whose it is, it does nothing but wait.
      const bound = spec.workspace === "job" ? undefined : workspaces.bind(sandbox.slot, spec);
      await Promise.all([bound, engine.unpause(sandbox.container)]);
      await this.#tell(known, connection);
      await claims.told(sandbox.slot, spec);
    } catch (thrown) {
      const err = asBerthError(thrown);
      log.warn({ err, worker: spec.worker }, "a dormant worker was of no use");
      this.#roster.known.delete(spec.worker);
      await this.#endings.destroy(known).catch(() => {});
      return false;
    }
    // For people who look at the engine, whose labels cannot be changed.
    engine.rename(sandbox.container, containerName(owner.deployment, spec.worker)).catch(() => {});
    return true;
  }

  async #make(spec: WorkerSpec, onStep: (step: StartStep) => void): Promise<Known> {
    const { owner, sandboxes } = this.#parts;
    const labels = specLabels(spec);
    const own = { ...partLabels(owner, "worker"), ...labels, [LABELS.spec]: JSON.stringify(spec) };
    const plan = {
      slot: spec.worker,
      name: containerName(owner.deployment, spec.worker), // K1
      size: spec,
      spec,
      labels: own,
      network: { owner: networkOwner(spec), labels },
    };
    const sandbox = await sandboxes.make(plan, onStep);
    return { ...sandbox, spec, isClaimed: false, isEnding: false };
  }

  /** Its identity, with its credential, and its network's door as the broker's address. */
  async #tell(known: Known, connection: WorkerConnection): Promise<void> {
    const url = new URL(connection.natsUrl.split(",")[0] ?? "");
    url.host = `${known.gateway}:${this.#parts.doorPort}`;
    const natsUrl = url.href.replace(/\/$/, "");
    const proxy_url = this.#parts.proxyUrl?.(known.spec.worker, known.gateway);
    const identity = {
      ...identityOf(known.spec, { ...connection, natsUrl }),
      ...(proxy_url === undefined ? {} : { proxy_url }),
    };
    await this.#parts.sandboxes.tell(known, formatIdentity(identity));
  }

  #heard({ action, id }: ContainerEvent): void {
    if (action !== "die" && action !== "destroy") return;
    if (this.#pool.drop(id)) this.#pool.refill();
    const known = this.#roster.byContainer(id);
    if (known !== undefined) void this.#endings.bury(known);
    this.#onChange();
  }

  #engineIsBack(): void {
    this.#looking = this.#looking
      .then(() => this.#endings.look())
      .catch((thrown: unknown) => {
        this.#parts.log.warn({ err: asBerthError(thrown) }, "the engine could not be looked at");
      });
    this.#onChange();
  }
}

function networkOwner({ network, tenant, user }: WorkerSpec): NetworkOwner {
  if (network === "user" && user !== undefined) return { kind: "user", tenant, user };
  if (network === "shared") return { kind: "shared" };
  return { kind: "tenant", tenant };
}
