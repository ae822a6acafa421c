import assert from "node:assert/strict";
import dns from "node:dns";
import { afterEach, beforeEach, mock, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import { type KeyServiceClient, MisusedError, UnavailableError } from "@tosend/keyservice";
import { ask, errorOf, Failure, granted, until, World } from "./support.js";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(async () => {
  mock.restoreAll();
  await world.end();
});

/** Asks, one call after the other, until the condition holds. Each call must be allowed. */
async function askUntil(client: KeyServiceClient, condition: () => boolean): Promise<void> {
  const end = performance.now() + 5_000;
  while (!condition()) {
    assert.ok("allowed" in (await ask(client)));
    assert.ok(performance.now() < end, `this did not come true: ${condition}`);
  }
}

const UNAVAILABLE = (): Failure => new Failure(status.UNAVAILABLE);

test("calls go in turns to the ready replicas", async () => {
  for (let i = 0; i < 3; i++) {
    await world.replica();
  }
  const client = await world.readyClient();
  const counts = (): number[] => world.replicas.map(({ received }) => received.splice(0).length);
  await askUntil(client, () => world.replicas.every(({ received }) => received.length > 0));
  counts();
  for (let i = 0; i < 30; i++) {
    await ask(client);
  }
  assert.deepEqual(counts(), [10, 10, 10]);
});

test("each attempt goes to a replica that the call has not asked, while there is one", async () => {
  for (let i = 0; i < 3; i++) {
    await world.replica(UNAVAILABLE);
  }
  const error = await errorOf(ask(await world.readyClient()), UnavailableError);
  assert.equal(error.attempts.length, 4);
  assert.equal(new Set(error.attempts.slice(0, 3).map(({ address }) => address)).size, 3);
});

test("a call pauses before it asks a replica again", async () => {
  await world.replica(UNAVAILABLE);
  const client = await world.readyClient();
  const start = performance.now();
  await errorOf(ask(client), UnavailableError);
  assert.ok(performance.now() - start >= 25 + 50 + 100 - 3);
});

test("a replica that is not serving is left out, until it serves", async () => {
  const [first, second] = [await world.replica(), await world.replica()];
  first.serving = false;
  const client = await world.readyClient();
  for (let i = 0; i < 10; i++) {
    await ask(client);
  }
  assert.equal(first.received.length, 0);
  second.serving = false;
  first.serving = true;
  await askUntil(client, () => first.received.length > 0);
});

test("if no replica is ready, calls go to those that are not", async () => {
  const replica = await world.replica();
  replica.serving = false;
  assert.ok("allowed" in (await ask(world.client())));
});

test("a replica that hangs is asked once, and left until a new watch says that it is ready", async () => {
  const [hanging] = [await world.replica(), await world.replica()];
  const client = await world.readyClient();
  await askUntil(client, () => hanging.received.length > 0);

  hanging.silent = true;
  hanging.answer = () => "never";
  const before = hanging.received.length;
  await askUntil(client, () => hanging.received.length > before);
  for (let i = 0; i < 20; i++) {
    assert.ok("allowed" in (await ask(client)));
  }
  assert.equal(hanging.received.length, before + 1);

  hanging.answer = () => granted;
  hanging.silent = false;
  await askUntil(client, () => hanging.received.length > before + 1);
});

test("calls with a short deadline notice that a replica hangs", async () => {
  const [hanging] = [await world.replica(), await world.replica(), await world.replica()];
  const client = await world.readyClient();
  await askUntil(client, () => hanging.received.length > 0);

  hanging.silent = true;
  hanging.answer = () => "never";
  const before = hanging.received.length;
  for (let i = 0; i < 30; i++) {
    assert.ok("allowed" in (await ask(client, { deadlineMillis: 100 })));
  }
  assert.equal(hanging.received.length, before + 1);
});

test("an attempt that the deadline cuts short says nothing about the replica", async () => {
  const failLate = (): Promise<Failure> => sleep(100, UNAVAILABLE());
  const replica = await world.replica(() => (replica.received.length <= 2 ? failLate() : "never"));
  const client = await world.readyClient();
  const error = await errorOf(ask(client, { deadlineMillis: 400 }), UnavailableError);
  assert.deepEqual(
    error.attempts.map(({ code }) => code),
    ["UNAVAILABLE", "UNAVAILABLE", "DEADLINE_EXCEEDED"],
  );
  replica.answer = () => granted;
  await ask(client);
  assert.equal(replica.watchCount, 1);
});

test("a replica that stays silent gets a new connection", async () => {
  const replica = await world.replica();
  const client = await world.readyClient();
  replica.silent = true;
  replica.answer = () => "never";
  await errorOf(ask(client), UnavailableError);
  const watches = replica.watchCount;
  await until(() => replica.watchCount > watches);
});

test("the deadline holds when all replicas hang", async () => {
  for (let i = 0; i < 3; i++) {
    await world.replica(() => "never");
  }
  const client = await world.readyClient();
  for (const deadlineMillis of [50, 300, 500]) {
    const start = performance.now();
    const error = await errorOf(ask(client, { deadlineMillis }), UnavailableError);
    const took = performance.now() - start;
    assert.ok(took < deadlineMillis + 50, `${took} ms of ${deadlineMillis}`);
    assert.equal(error.attempts[0]?.code, "DEADLINE_EXCEEDED");
  }
});

test("of many calls at once, 100 are in flight, and the others wait for their turn", async () => {
  let open = (_: object): void => undefined;
  const gate = new Promise<object>((resolve) => {
    open = resolve;
  });
  const replica = await world.replica(() => gate);
  const client = await world.readyClient({ attemptMillis: 5_000, deadlineMillis: 5_000 });
  const calls = Array.from({ length: 300 }, () => ask(client));
  const late = ask(client, { deadlineMillis: 50 });
  const aborted = ask(client, { signal: AbortSignal.timeout(50) });
  const [unavailable] = await Promise.all([errorOf(late, UnavailableError), errorOf(aborted, DOMException)]);
  assert.deepEqual(unavailable.attempts, []);
  await until(() => replica.received.length >= 100);
  assert.equal(replica.received.length, 100);
  open(granted);
  assert.ok((await Promise.all(calls)).every((answer) => "allowed" in answer));
  assert.equal(replica.received.length, 300);
});

test("no attempts follow 100 on a connection that the server may not have read", async () => {
  const replica = await world.replica(() => "never");
  const client = await world.readyClient({ deadlineMillis: 900 });
  replica.silent = true;
  const start = performance.now();
  const calls = Array.from({ length: 300 }, () => errorOf(ask(client), UnavailableError));
  const errors = await Promise.all(calls);
  const took = performance.now() - start;
  assert.ok(took < 1_150, `${took} ms`);
  assert.equal(replica.received.length, 100);
  assert.ok(errors.some(({ message }) => message.includes("too many other calls")));

  replica.silent = false;
  replica.answer = () => granted;
  await client.waitUntilReady(5_000);
  assert.ok("allowed" in (await ask(client)));
});

test("a ready replica is asked again, rather than one that is not ready", async () => {
  for (let i = 0; i < 3; i++) {
    await world.replica(UNAVAILABLE);
  }
  const [ready, ...others] = world.replicas;
  for (const other of others) {
    other.serving = false;
  }
  const start = performance.now();
  const error = await errorOf(ask(await world.readyClient()), UnavailableError);
  assert.ok(performance.now() - start >= 25 + 50 + 100 - 3);
  assert.deepEqual(
    error.attempts.map(({ address }) => address),
    Array(4).fill(ready?.address),
  );
});

test("the deadline holds while no address is known", async () => {
  mock.method(dns.promises, "lookup", () => new Promise(() => undefined));
  const client = world.client({ addresses: ["keys.test:50051"] });
  const start = performance.now();
  await errorOf(ask(client, { deadlineMillis: 100 }), UnavailableError);
  assert.ok(performance.now() - start < 150);
});

test("a replica that is down costs no call, and is used when it is back", async () => {
  const [stays, goes] = [await world.replica(), await world.replica()];
  const client = await world.readyClient();
  goes.stop();
  for (let i = 0; i < 20; i++) {
    assert.ok("allowed" in (await ask(client)));
  }
  assert.ok(stays.received.length >= 20);
  const back = await world.replica(undefined, goes.port);
  await askUntil(client, () => back.received.length > 0);
});

test("a call that finds no replica says why", async () => {
  const client = world.client({ addresses: ["127.0.0.1:1"] });
  const error = await errorOf(ask(client), UnavailableError);
  assert.equal(error.attempts.length, 4);
  assert.match(error.message, /127\.0\.0\.1:1 UNAVAILABLE \(.*ECONNREFUSED.*\)/);
  assert.match((await errorOf(client.waitUntilReady(10), UnavailableError)).message, /127\.0\.0\.1:1 UNAVAILABLE/);
});

test("all addresses of a name are used, and those that it loses are left", async () => {
  const first = await world.replica();
  const found = [{ address: "127.0.0.1", family: 4 }];
  mock.method(dns.promises, "lookup", async () => found);
  const client = world.client({ addresses: [`keys.test:${first.port}`] });
  await client.waitUntilReady(5_000);
  await ask(client);
  assert.equal(first.received.length, 1);
  found[0] = { address: "127.0.0.2", family: 4 };
  first.serving = false; // So that the name is looked up again within a second.
  first.answer = UNAVAILABLE;
  let address: string | undefined;
  const end = performance.now() + 5_000;
  while (address !== `127.0.0.2:${first.port}` && performance.now() < end) {
    address = (await errorOf(ask(client), UnavailableError)).attempts.at(-1)?.address;
  }
  assert.equal(address, `127.0.0.2:${first.port}`);
});

test("close lets calls in flight end, and takes no new ones", async () => {
  const replica = await world.replica(() => "never");
  const client = await world.readyClient({ attemptMillis: 300, maxAttempts: 1 });
  const call = ask(client);
  await until(() => replica.received.length === 1);
  let isClosed = false;
  const closed = client.close().then(() => {
    isClosed = true;
  });
  await errorOf(ask(client), MisusedError);
  assert.equal(isClosed, false);
  await errorOf(call, UnavailableError);
  await closed;
  await client.close();
});
