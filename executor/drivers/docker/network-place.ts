/** What this process knows of one network by its name: who holds it, whose turn it is, and its doors. */
import type { Door } from "./door.ts";
import type { Doorway } from "./doorway.ts";
import type { WorkerNetwork } from "./engine-networks.ts";

export class Place {
  holders = 0;
  /** To the broker. */
  door: Door | undefined;
  /** To the proxy. */
  exit: Doorway | undefined;
  /** The look or the making that whoever comes now can share. */
  ready: Promise<WorkerNetwork> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #turns = 0;

  get isIdle(): boolean {
    return (
      this.holders === 0 && this.#turns === 0 && this.door === undefined && this.exit === undefined
    );
  }

  /** Runs `work` when all that came before has ended. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#turns += 1;
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#turns -= 1;
    }
  }

  async closeDoors(): Promise<void> {
    const { door, exit } = this;
    this.door = undefined;
    this.exit = undefined;
    await Promise.all([door?.close(), exit?.close()]);
  }
}
