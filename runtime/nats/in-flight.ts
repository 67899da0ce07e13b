/**
 * Requests that wait for the broker's answer. An answer that was due on a connection that broke never comes;
 * whoever waits learns it when the connection breaks and not when its time-out has passed.
 */
import { BerthError } from "../../protocols/errors.ts";

export class InFlight {
  readonly #rejects = new Set<(error: Error) => void>();

  /** The outcome of `request`, or `broker.unavailable` if the connection breaks before: its fate is then not known. */
  guard<T>(request: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#rejects.add(reject);
      request.then(resolve, reject).finally(() => this.#rejects.delete(reject));
    });
  }

  /** The connection broke. */
  fail(): void {
    const rejects = [...this.#rejects];
    this.#rejects.clear();
    const error = new BerthError("broker.unavailable", "the connection to the broker broke");
    for (const reject of rejects) reject(error);
  }
}
