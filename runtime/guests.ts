/**
 * The actors of one partition that wait in the lobby, with their mail. Their messages are counted as they come and go:
 * there may be 100,000 guests, and a node says every second how much waits.
 */
import type { Inbox } from "./inbox.ts";
import type { Guest } from "./lobby.ts";
import type { Mail } from "./transport.ts";

/** An actor that mail or an open record wakes, before it is an activation. */
export interface Waiting extends Guest {
  readonly inbox: Inbox;
  /** Told when the actor has been recovered; with false when it was given up before. */
  readonly recoveries: ((isDone: boolean) => void)[];
}

export class Guests {
  readonly #byName = new Map<string, Waiting>();
  #messages = 0;
  #sequences = 0;

  /** How many messages wait with them, and of how many of these only the sequence is in memory. */
  get mail(): { readonly messages: number; readonly sequences: number } {
    return { messages: this.#messages, sequences: this.#sequences };
  }

  get(name: string): Waiting | undefined {
    return this.#byName.get(name);
  }

  add(name: string, guest: Waiting): void {
    this.#byName.set(name, guest);
    this.#count(guest, 1);
  }

  /** A guest's mail comes in here alone. */
  push(guest: Waiting, mail: Mail): void {
    this.#count(guest, -1);
    guest.inbox.pushMail(mail);
    this.#count(guest, 1);
  }

  /** Goes, and its mail with it. */
  remove(name: string): void {
    const guest = this.#byName.get(name);
    if (guest && this.#byName.delete(name)) this.#count(guest, -1);
  }

  /** All of them, who are none afterwards. */
  clear(): readonly Waiting[] {
    const all = [...this.#byName.values()];
    this.#byName.clear();
    this.#messages = 0;
    this.#sequences = 0;
    return all;
  }

  #count({ inbox }: Waiting, by: 1 | -1): void {
    this.#messages += by * inbox.size;
    this.#sequences += by * inbox.stubs;
  }
}
