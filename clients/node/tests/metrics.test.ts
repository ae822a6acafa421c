import assert from "node:assert/strict";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import { createNoopMeter, type Meter, metrics } from "@opentelemetry/api";
import { MisusedError, UnavailableError } from "@tosend/keyservice";
import { ask, denied, errorOf, Failure, granted, until, World } from "./support.js";

/** What was measured: how often for a histogram, and the sum for a counter, by name and attributes. */
const measured = new Map<string, number>();

function instrument(name: string): { add: Count; record: Count } {
  const count = (value: number, attributes: object): void => {
    const key = `${name} ${Object.values(attributes)}`;
    measured.set(key, (measured.get(key) ?? 0) + value);
  };
  return { add: count, record: (_value, attributes) => count(1, attributes) };
}
type Count = (value: number, attributes: object) => void;

test("calls, attempts and replicas are measured", async () => {
  const meter = Object.assign(Object.create(createNoopMeter()), {
    createHistogram: instrument,
    createCounter: instrument,
    createUpDownCounter: instrument,
  }) as Meter;
  metrics.setGlobalMeterProvider({ getMeter: () => meter });
  const world = new World();
  const replica = await world.replica();
  const client = await world.readyClient();
  const of = (name: string): number => measured.get(`keyservice.client.${name}`) ?? 0;

  await ask(client);
  replica.answer = () => denied(3);
  await ask(client);
  replica.answer = () => new Failure(status.UNAVAILABLE);
  await errorOf(ask(client), UnavailableError);
  replica.answer = () => new Failure(status.UNAUTHENTICATED);
  await errorOf(ask(client), MisusedError);
  for (const outcome of ["allowed", "denied", "unavailable", "misused"]) {
    assert.equal(of(`authorize.duration ${outcome}`), 1, outcome);
  }
  assert.equal(of("attempts OK"), 2);
  assert.equal(of("attempts UNAVAILABLE"), 4);
  assert.equal(of("attempts UNAUTHENTICATED"), 1);

  assert.equal(of("replicas true"), 1);
  replica.serving = false;
  await until(() => of("replicas false") === 1);
  assert.equal(of("replicas true"), 0);
  replica.answer = () => granted;
  await client.close();
  assert.equal(of("replicas false"), 0);
  await world.end();
});
