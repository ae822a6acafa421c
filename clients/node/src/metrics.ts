/** What the library measures, by the OpenTelemetry API. Without an SDK this costs nothing. */
import { type Counter, type Histogram, metrics, type UpDownCounter } from "@opentelemetry/api";
import { VERSION } from "./version.js";

/** How a call of `authorize` ended. */
export type Outcome = "allowed" | "denied" | "unavailable" | "misused";

/** The instruments of one client. */
export class Metrics {
  readonly #duration: Histogram;
  readonly #attempts: Counter;
  readonly #replicas: UpDownCounter;

  constructor() {
    const meter = metrics.getMeter("@tosend/keyservice", VERSION);
    this.#duration = meter.createHistogram("keyservice.client.authorize.duration", {
      description: "How long calls of authorize took.",
      unit: "s",
      // The defaults of the SDKs are for milliseconds. These tell an answer from memory
      // (1 ms) from attempts that timed out (200 ms each) and from the deadline (1 s).
      advice: { explicitBucketBoundaries: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2] },
    });
    this.#attempts = meter.createCounter("keyservice.client.attempts", {
      description: "Attempts of all calls, by the code that they ended with.",
    });
    this.#replicas = meter.createUpDownCounter("keyservice.client.replicas", {
      description: "Replicas that are known, by whether they are ready.",
    });
  }

  authorizeEnded(outcome: Outcome, tookMillis: number): void {
    this.#duration.record(tookMillis / 1000, { outcome });
  }

  attemptEnded(code: string): void {
    this.#attempts.add(1, { code });
  }

  /** Counts one replica more (1) or less (-1) that is ready, or is not. */
  countReplica(change: 1 | -1, ready: boolean): void {
    this.#replicas.add(change, { ready });
  }
}
