/** What an object does when it is used by one client at a time: the yardstick of a linearizability check. */
export interface ModelCall {
  readonly op: string;
  readonly input: unknown;
  /** Undefined when nobody saw the answer: any is then possible. */
  readonly seen: { readonly output: unknown } | undefined;
}

/** A sequential object. Pure: a step makes a new state and leaves the old one alone. */
export interface Model<S> {
  readonly initial: S;
  /** The state after the call; undefined when the object could not have answered so. */
  step(state: S, call: ModelCall): { readonly state: S } | undefined;
  /** Equal for equal states only; JSON when left out. */
  keyOf?(state: S): string;
  /**
   * Whether a call whose answer was seen can no longer come, now or after any other calls. What is not known to be past is
   * false; without it the search finds out the long way, which calls of unknown fate make very long.
   */
  isPast?(state: S, call: ModelCall & { readonly seen: { readonly output: unknown } }): boolean;
}

const equal = (a: unknown, b: unknown) => a === b || JSON.stringify(a) === JSON.stringify(b);
const when = <S>(holds: boolean, state: S) => (holds ? { state } : undefined);

/** `read` answers the last `write`; `cas` takes `{ from, to }` and answers whether it wrote. Initially `initial`. */
export function registerModel(initial: unknown = null): Model<unknown> {
  return {
    initial,
    step(state, { op, input, seen }) {
      if (op === "read") return when(!seen || equal(seen.output, state), state);
      if (op === "write") return { state: input };
      if (op !== "cas") throw new TypeError(`a register has no operation "${op}"`);
      const { from, to } = input as { readonly from: unknown; readonly to: unknown };
      const wrote = equal(from, state);
      return when(!seen || seen.output === wrote, wrote ? to : state);
    },
  };
}

/** `add` takes a number and answers the sum after it; `read` answers the sum. */
export const counterModel: Model<number> = {
  initial: 0,
  step(state, { op, input, seen }) {
    if (op === "read") return when(!seen || seen.output === state, state);
    if (op !== "add") throw new TypeError(`a counter has no operation "${op}"`);
    const sum = state + Number(input);
    return when(!seen || seen.output === sum, sum);
  },
  keyOf: String,
};

/** A counter to which nothing negative is added: what it was once it never is again. */
export const growingCounterModel: Model<number> = {
  ...counterModel,
  isPast: (state, { op, input, seen }) =>
    Number(seen.output) < (op === "add" ? state + Number(input) : state),
};
