/** A secret that a person types: nothing of it appears on the terminal. */
import type { Writable } from "node:stream";
import { BerthError } from "../../protocols/errors.ts";

/** Of a terminal's input. */
export interface KeyInput {
  setRawMode(isRaw: boolean): unknown;
  setEncoding(encoding: "utf8"): unknown;
  on(event: "data", fn: (text: string) => void): unknown;
  off(event: "data", fn: (text: string) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

const CTRL_C = "\u0003";
const ENDS = new Set(["\r", "\n", "\u0004", CTRL_C]);
const ERASE = new Set(["\u007f", "\b"]);

/** Rejects with `config.invalid` when it is broken off. */
export function askSecret(options: {
  readonly stdin: KeyInput;
  readonly stderr: Pick<Writable, "write">;
  readonly prompt: string;
}): Promise<string> {
  const { stdin, stderr, prompt } = options;
  stderr.write(prompt);
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  return new Promise((resolve, reject) => {
    let typed: readonly string[] = [];
    const end = (act: () => void) => {
      stdin.off("data", take);
      stdin.setRawMode(false);
      stdin.pause();
      stderr.write("\n");
      act();
    };
    // A paste arrives as one piece.
    const take = (piece: string) => {
      const keys = Array.from(piece);
      const at = keys.findIndex((key) => ENDS.has(key));
      typed = (at < 0 ? keys : keys.slice(0, at)).reduce(press, typed);
      if (keys[at] === CTRL_C)
        end(() => reject(new BerthError("config.invalid", "nothing was set")));
      else if (at >= 0) end(() => resolve(typed.join("")));
    };
    stdin.on("data", take);
    stdin.resume();
  });
}

function press(typed: readonly string[], key: string): readonly string[] {
  return ERASE.has(key) ? typed.slice(0, -1) : [...typed, key];
}
