/**
 * The start of a worker: its workspace's claim, its pod, and its identity, which the pod waits for.
 *
 * Invariants:
 * S1 A pod's name is its worker's, so that a start which is repeated finds the pod of the first.
 * S2 The identity belongs to the pod from its first moment, so that the cluster removes it with the pod whoever dies; it is
 *    removed as soon as the worker has it; and it is for that pod alone, whatever comes to have its name.
 * S3 A start that fails leaves no pod, or one that a sweep finds.
 */
import { isIP } from "node:net";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { StartStep, WorkerSpec } from "../../../protocols/executor.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { formatIdentity, identityOf } from "../../identity.ts";
import { serversOf } from "../../link.ts";
import type { WorkerConnection } from "../driver.ts";
import type { Cluster } from "./cluster.ts";
import { decideStart } from "./decide-start.ts";
import type { Endings } from "./endings.ts";
import { type ClusterOwner, workerLabels } from "./labels.ts";
import type { Pod } from "./pod.ts";
import type { PodInformer } from "./pod-informer.ts";
import type { PodMaker } from "./pod-maker.ts";
import { identitySecret, type PodPlan, type PodSettings } from "./pod-manifest.ts";
import type { WorkspaceClaims } from "./workspace-claims.ts";

export interface StartingParts {
  readonly cluster: Cluster;
  readonly maker: PodMaker;
  readonly owner: ClusterOwner;
  readonly informer: PodInformer;
  readonly claims: WorkspaceClaims;
  readonly settings: PodSettings;
  /** How long the scheduler may find no place. */
  readonly placeWithinMs: number;
  /** The proxy as a worker is told of it; undefined: there is none. */
  readonly proxyUrl?: (worker: string) => string;
  /** Address of a name, as this node sees it. */
  readonly resolve: (name: string) => Promise<string>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A start and its first word must fit into what is waited for together. */
const START_WITHIN_MS = 40_000;
const LOOK_EVERY_MS = 500;
/** Until the stream tells of a pod that was just made. */
const UNSEEN_MS = 5_000;

export class Starting {
  readonly #parts: StartingParts;
  readonly #endings: Pick<Endings, "remove">;

  constructor(parts: StartingParts, endings: Pick<Endings, "remove">) {
    this.#parts = parts;
    this.#endings = endings;
  }

  /** Resolves with the pod when its process exists. Rejects with `driver.failed`, or `capacity.exhausted`. */
  async start(
    spec: WorkerSpec,
    connection: WorkerConnection,
    onStep: (step: StartStep) => void,
  ): Promise<Pod> {
    const { claims, cluster, maker, owner, settings } = this.#parts;
    onStep("creating");
    const proxy = this.#parts.proxyUrl?.(spec.worker);
    const claim = spec.workspace === "job" ? undefined : await claims.open(spec);
    const hosts = await this.#hosts([connection.natsUrl, ...(proxy === undefined ? [] : [proxy])]);
    const pod = await maker.make({ owner, spec, claim, hosts, settings }); // S1
    try {
      const identity = {
        ...identityOf(spec, connection),
        ...(proxy === undefined ? {} : { proxy_url: proxy }),
      };
      const labels = workerLabels(owner, spec);
      await cluster.putSecret(identitySecret(pod, labels, formatIdentity(identity)));
      onStep("starting");
      await this.#untilRunning(pod);
      await cluster.deleteSecret(pod.name); // S2
      return pod;
    } catch (thrown) {
      await this.#endings.remove(pod).catch(() => {}); // S3
      throw asBerthError(thrown, "driver.failed");
    }
  }

  async #untilRunning({ name, uid }: Pod): Promise<void> {
    const { informer, placeWithinMs } = this.#parts;
    let isSeen = false;
    const settled = (found: Pod | undefined, waitedMs: number) => {
      // Another of that name is not the one that was made, and nothing is handed to it.
      const pod = found?.uid === uid ? found : undefined;
      isSeen ||= pod !== undefined;
      if (!isSeen && waitedMs < UNSEEN_MS) return undefined;
      const verdict = decideStart(pod, { waitedMs, placeWithinMs });
      return verdict.as === "waits" ? undefined : verdict;
    };
    const verdict = await informer.until(name, settled, START_WITHIN_MS, LOOK_EVERY_MS);
    if (verdict === undefined)
      throw new BerthError("driver.failed", `Pod ${name} did not run within ${START_WITHIN_MS} ms`);
    if (verdict.as === "failed") throw new BerthError(verdict.code, verdict.reason);
  }

  /** Addresses are the worker's own to keep: it has nobody to ask (see `nameService`). */
  async #hosts(urls: readonly string[]): Promise<PodPlan["hosts"]> {
    const names = urls
      .flatMap((url) => serversOf(url).servers)
      .map((server) => new URL(`nats://${server}`).hostname)
      .filter((name) => isIP(name) === 0 && !name.startsWith("["));
    return await Promise.all(
      [...new Set(names)].map(async (name) => ({ name, address: await this.#parts.resolve(name) })),
    );
  }
}
