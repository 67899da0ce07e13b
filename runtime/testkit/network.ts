/** A network whose every delay and loss comes from a seed. */
import type { Fate, Faults, Passage } from "./faults.ts";
import type { Random } from "./random.ts";

/** Milliseconds. */
const USUAL: readonly [number, number] = [0.1, 2];
const SLOW: readonly [number, number] = [5, 150];
/** Past a call's time-out: it arrives when its sender has given it up. */
const LATE: readonly [number, number] = [500, 4_500];
const SLOW_SHARE = 0.05;
const LATE_SHARE = 0.002;
const AGAIN_MS: readonly [number, number] = [1, 400];

/** A subscription or a watch is there or its connection broke: these are not lost one by one. */
const SURE =
  /^(bus\.(serve|close)|buckets\.(watch|unwatch|change)|mailboxes\.close|mail\.end|close)$/;

export class SeededNetwork implements Faults {
  readonly #random: Random;
  readonly #tell: (passage: Passage, fate: Fate) => void;
  /** How likely a message is lost, refused or doubled. */
  weather = 0;
  /** Whether a message now and then is so late that nobody waits for it any more. */
  hasStragglers = false;

  constructor(random: Random, tell: (passage: Passage, fate: Fate) => void) {
    this.#random = random;
    this.#tell = tell;
  }

  fate(passage: Passage): Fate {
    const fate = { delayMs: this.#delay(), ...this.#mishap(passage) };
    this.#tell(passage, fate);
    return fate;
  }

  #delay(): number {
    const draw = this.#random.next();
    if (draw < LATE_SHARE && this.hasStragglers) return this.#random.between(...LATE);
    return draw < SLOW_SHARE ? this.#random.between(...SLOW) : this.#random.between(...USUAL);
  }

  #mishap({ what }: Passage): Omit<Fate, "delayMs"> {
    if (this.weather === 0 || SURE.test(what) || !this.#random.chance(this.weather)) return {};
    const draw = this.#random.int(0, 3);
    if (draw === 0) return { refused: true };
    return draw === 1 ? { againMs: this.#random.between(...AGAIN_MS) } : { lost: true };
  }
}
