/**
 * How many attempts of a client are in flight at most. A program may ask for a whole
 * mailing at once. If all of it were sent at once, Node could not read the answers
 * before the attempts' time was up, and each would be sent again and again. So the
 * others wait for a slot, and their attempt's time begins when they have one.
 */
export class Slots {
  #free: number;
  /** In the order in which they came. */
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Runs the task in a slot. Undefined: none was free within so many milliseconds, or before the signal aborted. */
  async use<T>(millis: number, signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T | undefined> {
    if (this.#free > 0) {
      this.#free -= 1;
    } else if (!(await this.#wait(millis, signal))) {
      return undefined;
    }
    try {
      return await task();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) {
        this.#free += 1;
      } else {
        next(); // It has the slot now.
      }
    }
  }

  /** Says whether it has got a slot. */
  #wait(millis: number, signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (hasSlot: boolean): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", giveUp);
        this.#waiting.delete(accept);
        resolve(hasSlot);
      };
      const accept = (): void => end(true);
      const giveUp = (): void => end(false);
      const timer = setTimeout(giveUp, millis);
      signal?.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(accept);
    });
  }
}
