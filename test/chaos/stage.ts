/** Three nats-servers, three node processes with a way of their own to them, and clients: set up, and taken down whole. */
import { type Link, startNatsCluster, type TestNatsCluster } from "../support/nats-cluster.ts";
import { Child } from "./child.ts";
import type { Plant } from "./plants.ts";

export interface NodePlace {
  readonly id: string;
  readonly link: Link;
  process: Child;
}

const NODES = ["n1", "n2", "n3"] as const;
const GRACE_MS = 30_000;
const STARTS = 10;

export class Stage implements AsyncDisposable {
  readonly servers: TestNatsCluster;
  readonly nodes: NodePlace[] = [];
  readonly clients: Child[] = [];
  readonly #plant: Plant | undefined;

  private constructor(servers: TestNatsCluster, plant: Plant | undefined) {
    this.servers = servers;
    this.#plant = plant;
  }

  /** Resolves when every node hosts its share. `signal` ends the attempt; what was started is taken down then too. */
  static async open(options: {
    readonly plant: Plant | undefined;
    readonly signal: AbortSignal;
  }): Promise<Stage> {
    const stage = new Stage(await startNatsCluster(), options.plant);
    try {
      options.signal.throwIfAborted();
      for (const id of NODES) {
        const link = await stage.servers.link();
        stage.nodes.push({ id, link, process: stage.#launch(id, link) });
      }
      await Promise.all(stage.nodes.map((node) => node.process.ready()));
      options.signal.throwIfAborted();
      return stage;
    } catch (thrown) {
      await stage[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  #launch(id: string, link: Link): Child {
    return new Child(id, "node", {
      id,
      url: link.url,
      ...(this.#plant === undefined ? {} : { plant: this.#plant }),
    });
  }

  /**
   * Starts the node again after its process has ended, and again when it ends before it hosts its share, as a process
   * supervisor does: the broker may be away just then.
   */
  async startAgain(node: NodePlace): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      if (!node.process.isOver) return;
      node.process = this.#launch(node.id, node.link);
      try {
        await node.process.ready();
        return;
      } catch (thrown) {
        if (attempt === STARTS || !node.process.isOver) throw thrown;
      }
    }
  }

  /** SIGTERM: it hands over and leaves. */
  leave(node: NodePlace): Promise<void> {
    return node.process.end("SIGTERM", GRACE_MS);
  }

  async startClient(
    name: string,
    seed: number,
    onProgress: (value: unknown) => void,
  ): Promise<Child> {
    const child = new Child(name, "client", { name, seed, url: this.servers.url }, onProgress);
    this.clients.push(child);
    await child.ready();
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const children = [...this.clients, ...this.nodes.map((node) => node.process)];
    await Promise.all(children.map((child) => child.end("SIGKILL")));
    await this.servers[Symbol.asyncDispose]();
  }
}
