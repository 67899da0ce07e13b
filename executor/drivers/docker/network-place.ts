/** What this process knows of one network by its name: who holds it, whose turn it is, and its door. */
import type { Door } from "./door.ts";
import type { WorkerNetwork } from "./engine-networks.ts";

export class Place {
  holders = 0;
  door: Door | undefined;
  /** The look or the making that whoever comes now can share. */
  ready: Promise<WorkerNetwork> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #turns = 0;

  get isIdle(): boolean {
    return this.holders === 0 && this.#turns === 0 && this.door === undefined;
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

  async closeDoor(): Promise<void> {
    const { door } = this;
    this.door = undefined;
    await door?.close();
  }
}
