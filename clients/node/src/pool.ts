/**
 * The replicas that the client knows. The pool looks up the names, keeps one `Replica`
 * for each address, and says which one a call asks next.
 */
import dns from "node:dns";
import { isIP } from "node:net";
import { debuglog } from "node:util";
import type { Credentials } from "./credentials.js";
import type { Attempt } from "./errors.js";
import type { Metrics } from "./metrics.js";
import { isLoopbackIp } from "./options.js";
import { FIRST_PATIENCE_MILLIS, type Place, Replica } from "./replica.js";

const debug = debuglog("keyservice");

/** How often the pool reads files again, and how often it looks up names while no replica is ready. */
const TICK_MILLIS = 1_000;
/** How often it looks up names while one is. */
const LOOK_UP_MILLIS = 5_000;

/** A `host:port` of the client's options, and what its name stands for. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

interface Name extends Endpoint {
  /** The last addresses that the look-up found. It keeps them while look-ups fail. */
  ips: readonly string[];
  /** Why the last look-up failed. */
  failure: string | undefined;
  isBeingLookedUp: boolean;
}

export class Pool {
  readonly #credentials: Credentials;
  readonly #serverName: string | undefined;
  readonly #metrics: Metrics;
  readonly #names: readonly Name[];
  /** By address. */
  readonly #replicas = new Map<string, Replica>();
  /** Called when a replica is new, or its readiness has changed. */
  readonly #waiting = new Set<() => void>();
  readonly #ticker: NodeJS.Timeout;
  #lastLookUp = Number.NEGATIVE_INFINITY;
  #turn = 0;
  #closed = false;

  /** Connects to all replicas at once. */
  constructor(
    endpoints: readonly Endpoint[],
    serverName: string | undefined,
    credentials: Credentials,
    metrics: Metrics,
  ) {
    this.#credentials = credentials;
    this.#serverName = serverName;
    this.#metrics = metrics;
    this.#names = endpoints.map(({ host, port }) => ({
      host,
      port,
      ips: isIP(host) ? [host] : [],
      failure: undefined,
      isBeingLookedUp: false,
    }));
    this.#update();
    this.#lookUpIfDue();
    this.#ticker = setInterval(() => this.#tick(), TICK_MILLIS);
  }

  /**
   * The replica that a call asks next, in turns: one that is ready and that the call
   * has not asked, else one that is ready, else one that it has not asked, else any.
   */
  next(asked: ReadonlySet<string>): Replica | undefined {
    const candidates = this.#candidates;
    const untried = candidates.filter(({ place }) => !asked.has(place.address));
    const best = untried.length > 0 ? untried : candidates;
    this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER;
    return best[this.#turn % best.length];
  }

  /** Whether the next replica is one of these. */
  mustRepeat(asked: ReadonlySet<string>): boolean {
    return this.#candidates.every(({ place }) => asked.has(place.address));
  }

  /** Those that are ready, or else all that have room for another attempt. */
  get #candidates(): Replica[] {
    const all = [...this.#replicas.values()].filter(({ hasRoom }) => hasRoom);
    const ready = all.filter(({ ready }) => ready);
    return ready.length > 0 ? ready : all;
  }

  /** Whether any replica has room for another attempt. */
  get hasRoom(): boolean {
    return [...this.#replicas.values()].some(({ hasRoom }) => hasRoom);
  }

  /** Whether a replica is ready. */
  get isReady(): boolean {
    return [...this.#replicas.values()].some(({ ready }) => ready);
  }

  /** Whether any replica is known. */
  get isKnown(): boolean {
    return this.#replicas.size > 0;
  }

  /** Waits until the condition holds, for so many milliseconds at most, or until the signal aborts. */
  async waitUntil(condition: () => boolean, millis: number, signal?: AbortSignal): Promise<void> {
    if (condition() || signal?.aborted) {
      return;
    }
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        this.#waiting.delete(check);
        resolve();
      };
      const check = (): void => {
        if (condition()) {
          end();
        }
      };
      const timer = setTimeout(end, millis);
      signal?.addEventListener("abort", end, { once: true });
      this.#waiting.add(check);
    });
  }

  /** The replicas that are not ready, in the form of attempts. */
  get unready(): Attempt[] {
    return [...this.#replicas.values()]
      .filter(({ ready }) => !ready)
      .map(({ place, connection }) => ({
        address: place.address,
        code: "UNAVAILABLE",
        message: `not ready, connection ${connection}`,
      }));
  }

  /** The names that could not be looked up, in the form of attempts. */
  get failedLookUps(): Attempt[] {
    return this.#names
      .filter(({ failure }) => failure !== undefined)
      .map(({ host, port, failure }) => ({ address: `${host}:${port}`, code: "UNAVAILABLE", message: failure ?? "" }));
  }

  /** Ends all connections, each once its calls have ended. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#ticker);
    for (const replica of this.#replicas.values()) {
      this.#remove(replica);
    }
    this.#wake();
  }

  #tick(): void {
    this.#lookUpIfDue();
    void this.#credentials.refresh().then((changed) => {
      if (changed && !this.#closed) {
        for (const { place } of [...this.#replicas.values()]) {
          this.#connect(place, FIRST_PATIENCE_MILLIS);
        }
      }
    });
  }

  #lookUpIfDue(): void {
    const age = performance.now() - this.#lastLookUp;
    // A timer may fire a little early.
    if (age > (this.isReady ? LOOK_UP_MILLIS : TICK_MILLIS) - 50) {
      this.#lastLookUp = performance.now();
      for (const name of this.#names) {
        void this.#lookUp(name);
      }
    }
  }

  async #lookUp(name: Name): Promise<void> {
    if (isIP(name.host) || name.isBeingLookedUp) {
      return;
    }
    name.isBeingLookedUp = true;
    try {
      const found = await dns.promises.lookup(name.host, { all: true });
      const ips = found.map(({ address }) => address);
      // What the name `localhost` stands for is not this library's to decide.
      const far = this.#credentials.isSecretInPlainText && ips.find((ip) => !isLoopbackIp(ip));
      if (far) {
        throw new Error(`a bearer secret is not sent to ${far} without TLS`);
      }
      name.ips = ips;
      name.failure = undefined;
    } catch (error) {
      name.failure = error instanceof Error ? error.message : "the look-up failed";
      debug("%s: %s", name.host, name.failure);
    } finally {
      name.isBeingLookedUp = false;
    }
    this.#update();
  }

  /** Makes the replicas those that the names stand for. */
  #update(): void {
    if (this.#closed) {
      return;
    }
    const places = new Map<string, Place>();
    for (const { host, port, ips } of this.#names) {
      for (const ip of ips) {
        const address = isIP(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
        places.set(address, { address, serverName: this.#serverName ?? host });
      }
    }
    for (const replica of this.#replicas.values()) {
      if (!places.has(replica.place.address)) {
        this.#remove(replica);
      }
    }
    for (const place of places.values()) {
      if (!this.#replicas.has(place.address)) {
        this.#connect(place, FIRST_PATIENCE_MILLIS);
      }
    }
  }

  /** Adds a replica, in the place of the one with the same address if there is one. */
  #connect(place: Place, patienceMillis: number): void {
    const old = this.#replicas.get(place.address);
    if (old !== undefined) {
      this.#remove(old);
    }
    const replica = new Replica(place, this.#credentials.channel, patienceMillis, {
      readyChanged: () => {
        this.#metrics.countReplica(-1, !replica.ready);
        this.#metrics.countReplica(1, replica.ready);
        this.#lookUpIfDue();
        this.#wake();
      },
      roomMade: () => this.#wake(),
      silent: () => {
        debug("%s: connecting anew", place.address);
        this.#connect(place, replica.nextPatienceMillis);
      },
    });
    this.#replicas.set(place.address, replica);
    this.#metrics.countReplica(1, false);
    this.#wake();
  }

  #remove(replica: Replica): void {
    this.#replicas.delete(replica.place.address);
    this.#metrics.countReplica(-1, replica.ready);
    replica.retire();
  }

  #wake(): void {
    for (const check of this.#waiting) {
      check();
    }
  }
}
