/**
 * Workers as hardened pods of a Kubernetes cluster, one each. What is there is read from the cluster, never remembered on
 * disk: a driver that starts knows its own again.
 *
 * Invariants:
 * K1 A worker has at most one pod: its name is the worker's, and the cluster gives a name once.
 * K2, K3, K4, K6 are kept in `endings.ts`.
 * K5 Workers outlive us. A node's pods are its own while it lives; workspaces and policies are the deployment's.
 */
import { asBerthError } from "../../../protocols/errors.ts";
import type { StartStep, WorkerSpec, WorkerUse } from "../../../protocols/executor.ts";
import { parseId } from "../../../protocols/ids.ts";
import type { Driver, LiveWorker, Wanted, WorkerConnection, WorkerExit } from "../driver.ts";
import { ExitReports } from "../exit-reports.ts";
import { MAX_LOG_TAIL_BYTES } from "../kept-logs.ts";
import { Endings, type EndingsParts } from "./endings.ts";
import type { KeptPolicies } from "./kept-policies.ts";
import { podName } from "./labels.ts";
import { hasEnded, type Pod } from "./pod.ts";
import { type Known, Roster } from "./roster.ts";
import { Starting, type StartingParts } from "./starting.ts";
import type { Strangers } from "./strangers.ts";
import { sweepWorkers } from "./sweeping.ts";
import type { Usage } from "./usage.ts";

export interface KubernetesDriverParts
  extends Omit<EndingsParts, "roster" | "onExit" | keyof StartingParts>,
    StartingParts {
  readonly policies: KeptPolicies;
  readonly strangers: Strangers;
  readonly usage: Usage;
  /** Ends what the node serves its workers beside them. */
  readonly close?: () => Promise<void>;
}

export class KubernetesDriver implements Driver {
  readonly name = "kubernetes";
  readonly isolates = true;
  readonly weaknesses = [
    "what workers reach is bounded by NetworkPolicies: only a cluster whose network enforces them keeps workers apart",
    "the number of a worker's processes is bounded by the cluster's own limit, not by its tier",
  ];
  readonly #parts: KubernetesDriverParts;
  readonly #roster = new Roster();
  readonly #endings: Endings;
  readonly #starting: Starting;
  readonly #closing = new AbortController();
  readonly #exits = new ExitReports();
  #onChange: () => void = () => {};
  #following: Promise<void> = Promise.resolve();

  private constructor(parts: KubernetesDriverParts) {
    this.#parts = parts;
    this.#endings = new Endings({
      ...parts,
      roster: this.#roster,
      onExit: (exit) => this.#exits.tell(exit),
    });
    this.#starting = new Starting(parts, this.#endings);
  }

  /** Adopts what lives, and cleans up after what died meanwhile. Rejects with `driver.failed` when the cluster does not answer. */
  static async open(parts: KubernetesDriverParts): Promise<KubernetesDriver> {
    const driver = new KubernetesDriver(parts);
    await parts.informer.open();
    await parts.policies.ensure(driver.#fleets());
    driver.#adopt();
    parts.informer.listen({
      changed: (name, last) => driver.#heard(name, last),
      opened: () => driver.#streamIsOpen(),
    });
    driver.#following = parts.informer.run(driver.#closing.signal);
    await driver.#endings.look();
    return driver;
  }

  async start(
    spec: WorkerSpec,
    connection: WorkerConnection,
    onStep: (step: StartStep) => void = () => {},
  ): Promise<void> {
    parseId(spec.worker, "worker");
    const { known, starting } = this.#roster;
    if (known.has(spec.worker)) return;
    const under = starting.get(spec.worker)?.done ?? this.#start(spec, connection, onStep);
    const pod = podName(this.#parts.owner.deployment, spec.worker);
    starting.set(spec.worker, { pod, spec, done: under });
    try {
      await under;
    } finally {
      starting.delete(spec.worker);
    }
    // It may have ended while its start was not over yet.
    void this.#endings.look();
  }

  async stop(
    worker: string,
    { keepWorkspace }: { readonly keepWorkspace: boolean },
  ): Promise<void> {
    parseId(worker, "worker");
    await this.#roster.starting.get(worker)?.done.catch(() => {});
    const known = this.#roster.known.get(worker);
    if (known === undefined) return;
    await this.#endings.stop(known, this.#parts.settings.graceMs);
    const { tenant, workspace, workspace_key: key } = known.spec;
    if (keepWorkspace || workspace === "job" || this.#roster.mayUse(tenant, key)) return;
    await this.removeWorkspace(tenant, key);
  }

  list(): Promise<readonly LiveWorker[]> {
    const live = [...this.#roster.known.values()];
    return Promise.resolve(live.map(({ spec }) => ({ worker: spec.worker, spec })));
  }

  /** A worker of any node of the deployment, with its pod's address. */
  find(worker: string): { readonly spec: WorkerSpec; readonly gateway: string } | undefined {
    const name = podName(this.#parts.owner.deployment, worker);
    const pod = this.#parts.informer.get(name);
    if (pod?.spec?.worker !== worker || pod.address === undefined || hasEnded(pod))
      return undefined;
    return { spec: pod.spec, gateway: pod.address };
  }

  /** Whose worker has the pod of this address; undefined for the shared pool's, and where there is none. */
  tenantAt(address: string): string | undefined {
    const { spec } = this.#parts.informer.all().find((pod) => pod.address === address) ?? {};
    return spec?.network === "shared" ? undefined : spec?.tenant;
  }

  watch(onExit: (exit: WorkerExit) => void): void {
    this.#exits.watch(onExit);
  }

  onChange(fn: () => void): void {
    this.#onChange = fn;
  }

  async removeWorkspace(tenant: string, key: string): Promise<void> {
    await this.#parts.claims.remove(tenant, key);
  }

  async use(): Promise<ReadonlyMap<string, WorkerUse>> {
    const live = [...this.#roster.known.values()];
    return await this.#parts.usage.of(
      live.map(({ pod, spec }) => ({
        pod,
        worker: spec.worker,
        memoryLimitBytes: spec.memory_bytes,
      })),
    );
  }

  /** A pod cannot be paused, and one that runs for nobody takes its share of the cluster. */
  dormant(): Readonly<Record<string, number>> {
    return {};
  }

  async log(worker: string): Promise<string | undefined> {
    const known = this.#roster.known.get(worker);
    const { cluster, logs } = this.#parts;
    if (known === undefined) return logs.read(worker);
    return await cluster.logTail(known.pod, MAX_LOG_TAIL_BYTES);
  }

  async sweep(wanted: Wanted): Promise<readonly string[]> {
    const { claims, policies } = this.#parts;
    const endings = this.#endings;
    const roster = this.#roster;
    await endings.look();
    return [
      ...(await sweepWorkers({ ...this.#parts, endings, roster }, wanted)),
      ...(await claims.sweep(wanted, (tenant, key) => roster.mayUse(tenant, key))),
      ...(await policies.ensure(this.#fleets())),
    ];
  }

  /** K5. */
  async dispose({ removeAll } = { removeAll: false }): Promise<void> {
    this.#closing.abort();
    this.#exits.close();
    await this.#following;
    const { close, cluster, informer, policies } = this.#parts;
    await close?.();
    // Other nodes' workers need them still.
    if (removeAll && informer.all().length === 0) await policies.removeAll();
    cluster.close();
  }

  async #start(
    spec: WorkerSpec,
    connection: WorkerConnection,
    onStep: (step: StartStep) => void,
  ): Promise<void> {
    if (spec.network === "tenant") await this.#parts.policies.admit(spec.tenant);
    const pod = await this.#starting.start(spec, connection, onStep);
    this.#roster.known.set(spec.worker, knownAs(spec, pod));
  }

  #adopt(): void {
    for (const pod of this.#own()) {
      if (pod.spec === undefined || !hasBegun(pod)) continue; // A sweep takes it.
      this.#roster.known.set(pod.spec.worker, knownAs(pod.spec, pod));
    }
  }

  #own(): Pod[] {
    const { informer, owner } = this.#parts;
    return informer.all().filter(({ node }) => node === owner.node);
  }

  /** Tenants whose workers may talk to each other: those of all nodes, and those that start here. */
  #fleets(): string[] {
    const there = this.#parts.informer.all().flatMap(({ spec }) => spec ?? []);
    const starting = [...this.#roster.starting.values()].map(({ spec }) => spec);
    const fleets = [...there, ...starting].filter(({ network }) => network === "tenant");
    return [...new Set(fleets.map(({ tenant }) => tenant))];
  }

  #heard(name: string, { uid }: Pod): void {
    const { informer, owner } = this.#parts;
    const now = informer.get(name);
    // One of ours that nobody started was made again: a sweep takes it.
    if (now?.uid === uid && now.node === owner.node && !this.#roster.owns(now)) this.#onChange();
    const known = this.#roster.byPod(name);
    if (known?.uid !== uid || this.#roster.starting.has(known.spec.worker)) return;
    void this.#endings.look();
    this.#onChange();
  }

  #streamIsOpen(): void {
    this.#endings.look().catch((thrown: unknown) => {
      this.#parts.log.warn({ err: asBerthError(thrown) }, "the cluster could not be looked at");
    });
    this.#onChange();
  }
}

function knownAs(spec: WorkerSpec, { name, sandbox, uid }: Pod): Known {
  return { spec, pod: name, uid, sandbox, isEnding: false };
}

/** Its worker has its identity: one that waits for it is nobody's, for who was to hand it in is gone. */
function hasBegun(pod: Pod): boolean {
  return hasEnded(pod) || pod.worker?.state === "running" || pod.worker?.state === "ended";
}
