/** An attempt takes up to 1 ms of a slow core, so a turn takes some 20 ms. */
const MAX_BEGUN_IN_TURN = 20;

/**
 * How many attempts of a client are in flight at most. A program may ask for a whole
 * mailing at once. If all of it were sent at once, Node could not read the answers
 * before the attempts' time was up, and each would be sent again and again. So the
 * others wait for a slot, and their attempt's time begins when they have one.
 *
 * Few attempts begin in one turn of the event loop, so that turns are short even on a
 * busy machine: calls end by timers, which are late by a turn.
 */
export class Slots {
  #free: number;
  /** Attempts that began in this turn. */
  #begun = 0;
  /** In the order in which they came. */
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Runs the task in a slot. Undefined: none was free within so many milliseconds, or before the signal aborted. */
  async use<T>(millis: number, signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T | undefined> {
    if (this.#hasFree && this.#waiting.size === 0) {
      this.#take();
    } else if (!(await this.#wait(millis, signal))) {
      return undefined;
    }
    try {
      return await task();
    } finally {
      this.#free += 1;
      this.#serveWaiting();
    }
  }

  get #hasFree(): boolean {
    return this.#free > 0 && this.#begun < MAX_BEGUN_IN_TURN;
  }

  #take(): void {
    this.#free -= 1;
    this.#begun += 1;
    if (this.#begun === 1) {
      setImmediate(() => {
        this.#begun = 0;
        this.#serveWaiting();
      });
    }
  }

  #serveWaiting(): void {
    for (const accept of this.#waiting) {
      if (!this.#hasFree) {
        break;
      }
      this.#take();
      accept();
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
