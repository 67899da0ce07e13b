/** Chance that repeats: the same seed gives the same numbers on every machine. Not for secrets. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** An integer from `from` to `to`, both included. */
  int(from: number, to: number): number;
  /** In [from, to). */
  between(from: number, to: number): number;
  chance(probability: number): boolean;
  pick<T>(choices: readonly T[]): T;
  /** Numbers of their own: drawing from one fork moves no other. */
  fork(name: string): Random;
}

const WORD = 0x1_0000_0000;
const WARM_UP = 12;

export function seededRandom(seed: number | string): Random {
  const next = sfc32(wordsOf(String(seed)));
  const between = (from: number, to: number) => from + next() * (to - from);
  const int = (from: number, to: number) => Math.floor(between(from, to + 1));
  return {
    next,
    between,
    int,
    chance: (probability) => next() < probability,
    pick(choices) {
      const choice = choices[int(0, choices.length - 1)];
      if (choice === undefined) throw new RangeError("nothing to pick from");
      return choice;
    },
    fork: (name) => seededRandom(`${seed}/${name}`),
  };
}

/** Chris Doty-Humphrey's small fast counter, 32 bits; passes PractRand. */
function sfc32([first, second, third]: readonly [number, number, number]): () => number {
  let [a, b, c, counter] = [first, second, third, 1];
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / WORD;
  };
  for (let i = 0; i < WARM_UP; i += 1) next();
  return next;
}

/** Three words that differ for texts that differ (FNV-1a from three starts). */
function wordsOf(text: string): [number, number, number] {
  return [hashOf(text, 0x811c9dc5), hashOf(text, 0x9e3779b9), hashOf(text, 0x85ebca6b)];
}

/** FNV-1a, 32 bits. `start` chains calls. */
export function hashOf(text: string, start = 0x811c9dc5): number {
  let hash = start;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
