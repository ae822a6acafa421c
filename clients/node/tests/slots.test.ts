import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Slots } from "../src/slots.js";

test("few attempts begin in one turn of the event loop, in the order of their calls", async () => {
  const slots = new Slots(100);
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const calls = Array.from({ length: 50 }, (_, i) =>
    slots.use(5_000, undefined, () => {
      begun.push(i);
      return new Promise<void>((resolve) => ends.push(resolve));
    }),
  );
  const counts = [begun.length];
  while (begun.length < calls.length) {
    await turn();
    counts.push(begun.length);
  }
  assert.deepEqual(counts, [20, 40, 50]);
  assert.deepEqual(begun, [...calls.keys()]);
  for (const end of ends) {
    end();
  }
  await Promise.all(calls);
});

test("a slot that is given back goes to the call that waits longest, and none waits beyond its time", async () => {
  const slots = new Slots(1);
  let end = (): void => undefined;
  const first = slots.use(5_000, undefined, () => new Promise<string>((resolve) => (end = () => resolve("first"))));
  const overdue = slots.use(10, undefined, async () => "overdue");
  const second = slots.use(5_000, undefined, async () => "second");
  assert.equal(await overdue, undefined);
  end();
  assert.deepEqual(await Promise.all([first, second]), ["first", "second"]);
});
