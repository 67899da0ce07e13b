/** How much one job may say: what goes beyond is dropped, and one event tells so. */
import type { AgentFact } from "./agents/agent.ts";
import type { Piece } from "./output-decoder.ts";

export class OutputBudget {
  #left: number;
  #dropped = 0;

  constructor(limitBytes: number) {
    this.#left = limitBytes;
  }

  output(stream: "stdout" | "stderr", piece: Piece): AgentFact[] {
    const { text, offset, bytes, binary } = piece;
    if (!this.#take(bytes)) return this.#drop(stream, offset, bytes);
    const data = { stream, text, offset, ...(binary ? { binary: true as const } : {}) };
    return [{ fact: "event", event: { type: "agent.output", data } }];
  }

  /** Only events are weighed: a session id or a usage report always passes. */
  fact(fact: AgentFact): AgentFact[] {
    if (fact.fact !== "event") return [fact];
    const bytes = Buffer.byteLength(JSON.stringify(fact.event.data));
    return this.#take(bytes) ? [fact] : this.#drop("stdout", 0, bytes);
  }

  #take(bytes: number): boolean {
    // Once something was dropped all is: a log with holes would look whole.
    if (this.#dropped > 0 || bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  #drop(stream: "stdout" | "stderr", offset: number, bytes: number): AgentFact[] {
    const isFirst = this.#dropped === 0;
    this.#dropped += bytes;
    if (!isFirst) return [];
    const data = { stream, text: "", offset, truncated_bytes: bytes };
    return [{ fact: "event", event: { type: "agent.output", data } }];
  }
}
