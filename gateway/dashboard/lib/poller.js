/** Calls `load` now and every `everyMs` while the page is looked at; never twice at once. */
export class Poller {
  #load;
  #everyMs;
  #timer;
  #busy = false;
  #again = false;
  #stopped = false;

  constructor(load, everyMs) {
    this.#load = load;
    this.#everyMs = everyMs;
    document.addEventListener("visibilitychange", this.#seen);
    this.now();
  }

  #seen = () => {
    if (!document.hidden) this.now();
  };

  /** Loads at once, or once more when a load is under way. */
  now() {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#busy = true;
    this.#load()
      .catch((error) => reportError(error))
      .finally(() => {
        this.#busy = false;
        this.#schedule();
      });
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#seen);
  }

  #schedule() {
    if (this.#stopped) return;
    const wait = this.#again ? 200 : this.#everyMs;
    this.#again = false;
    this.#timer = setTimeout(() => (document.hidden ? this.#schedule() : this.now()), wait);
  }
}
