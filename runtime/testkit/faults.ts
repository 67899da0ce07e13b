/** What may befall a message between a process and the broker, and who decides it. */

export interface Passage {
  readonly process: string;
  /** `out`: from the process to the broker. `in`: from the broker to the process. */
  readonly direction: "out" | "in";
  /** The port and its operation, such as `records.commit`, `mail`, `bus.request`; of an answer, that of its question. */
  readonly what: string;
  /** What it is about: an actor, a subject, a key. */
  readonly subject: string;
}

export interface Fate {
  /** How long it takes. Messages that must keep their order wait for the one before. */
  readonly delayMs: number;
  /** It never arrives, though the connection stays. */
  readonly lost?: boolean;
  /** The broker answers that it is not available, and does nothing (an election, a full queue). */
  readonly refused?: boolean;
  /** Comes a second time after so long: a redelivery, or a message stored twice outside the duplicate window. */
  readonly againMs?: number;
}

/** Asked once for each message, in the order they are sent. */
export interface Faults {
  fate(passage: Passage): Fate;
}

const AT_ONCE: Fate = { delayMs: 0 };

export const noFaults: Faults = { fate: () => AT_ONCE };
