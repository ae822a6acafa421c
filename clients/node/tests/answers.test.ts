import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { MisusedError, UnavailableError } from "@tosend/keyservice";
import { ask, denied, errorOf, Failure, granted, TOKEN, until, World } from "./support.js";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

test("allowed: the key, its account and its scope", async () => {
  await world.replica();
  assert.deepEqual(await ask(world.client()), {
    allowed: { keyId: "key_1", accountId: "acme", scope: { kind: "domain", domain: "mail.example.com" } },
  });
});

const withScope = (scope: object) => ({
  granted: true,
  decision: { case: "grant" as const, value: { keyId: "key_1", accountId: "acme", scope } },
});

test("a scope of all domains", async () => {
  await world.replica(() => withScope({ kind: { case: "allDomains", value: {} } }));
  assert.deepEqual(await ask(world.client()), {
    allowed: { keyId: "key_1", accountId: "acme", scope: { kind: "allDomains" } },
  });
});

test("denied: the reason, the key and its account", async () => {
  await world.replica(() => denied(3));
  assert.deepEqual(await ask(world.client()), {
    denied: { reason: "REVOKED", httpStatus: 401, keyId: "key_1", accountId: "acme" },
  });
});

test("denied without a key", async () => {
  await world.replica(() => ({ decision: { case: "denial", value: { reason: 2 } } }));
  assert.deepEqual(await ask(world.client()), {
    denied: { reason: "UNKNOWN_TOKEN", httpStatus: 401, keyId: undefined, accountId: undefined },
  });
});

test("a reason that only a newer server knows is a denial, and its number", async () => {
  await world.replica(() => denied(99));
  assert.deepEqual(await ask(world.client()), {
    denied: { reason: "99", httpStatus: 403, keyId: "key_1", accountId: "acme" },
  });
});

for (const [what, answer] of Object.entries({
  "an empty response": {},
  "granted without a grant": { granted: true },
  "granted with a denial": { ...denied(3), granted: true },
  "a grant that is not granted": { ...granted, granted: false },
  "a scope that only a newer server knows": withScope({}),
  "a scope of no domain": withScope({ kind: { case: "domain", value: "" } }),
})) {
  test(`${what} is no answer`, async () => {
    const replica = await world.replica(() => answer);
    const error = await errorOf(ask(world.client()), UnavailableError);
    assert.equal(replica.received.length, 4);
    assert.equal(error.attempts[0]?.code, "INTERNAL");
  });
}

const FINAL = ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED"];
for (const code of Object.values(status).filter((code) => typeof code === "number" && code !== status.OK) as status[]) {
  const name = status[code];
  if (FINAL.includes(name)) {
    test(`${name} is misuse, and asked once`, async () => {
      const replica = await world.replica(() => new Failure(code, "no proof was given"));
      const error = await errorOf(ask(world.client()), MisusedError);
      assert.equal(error.code, name);
      assert.equal(error.message, `${name}: no proof was given`);
      assert.equal(replica.received.length, 1);
    });
  } else {
    test(`${name} is followed by another attempt`, async () => {
      let count = 0;
      const replica = await world.replica(() => (count++ === 0 ? new Failure(code) : granted));
      assert.ok("allowed" in (await ask(world.client())));
      assert.equal(replica.received.length, 2);
    });
  }
}

test("unavailable says in one line what happened to each attempt, and alike ones once", async () => {
  const replica = await world.replica(() => new Failure(status.UNAVAILABLE, "LEASE_LAPSED: not\nnow"));
  const error = await errorOf(ask(await world.readyClient()), UnavailableError);
  const attempt = `${replica.address} UNAVAILABLE (LEASE_LAPSED: not now)`;
  assert.match(error.message, /^no replica answered within \d+ ms: /);
  assert.ok(error.message.endsWith(` ms: ${attempt}, 4 times`), error.message);
});

test("the text of others is one line without secrets", async () => {
  const text = `no\r\n\u001b[31m\u009b1m\u202e: Bearer tsop_0aZ, ${TOKEN}.${"x".repeat(1_000)}`;
  await world.replica(() => new Failure(status.PERMISSION_DENIED, text));
  const { message } = await errorOf(ask(world.client()), MisusedError);
  assert.ok(message.startsWith("PERMISSION_DENIED: no [31m 1m : Bearer tsop_…, tsend_….xxx"), message);
  assert.ok(message.length < 600);
});

test("the call resolves to what the handler returned", async () => {
  await world.replica();
  const result = await world.client().authorize(TOKEN, "mail.example.com", {
    allowed: async ({ keyId }) => keyId.length,
    denied: ({ reason }) => reason,
  });
  assert.equal(result, 5);
});

test("an error of a handler is passed on", async () => {
  const replica = await world.replica();
  const call = world.client().authorize(TOKEN, "mail.example.com", {
    allowed: () => {
      throw new RangeError("the handler's own");
    },
    denied: () => undefined,
  });
  await errorOf(call, RangeError);
  assert.equal(replica.received.length, 1);
});

test("without both handlers, nothing is asked", async () => {
  const replica = await world.replica();
  const client = await world.readyClient();
  // biome-ignore lint/suspicious/noExplicitAny: a program without types can write all of this.
  const careless = client as any;
  for (const handlers of [undefined, null, {}, true, { allowed: () => true }, { denied: () => true }]) {
    // It does not even return a promise, which would be true.
    assert.throws(() => careless.authorize(TOKEN, "mail.example.com", handlers), MisusedError);
  }
  const handlers = { allowed: () => true, denied: () => false };
  await errorOf(careless.authorize(undefined, "mail.example.com", handlers), MisusedError);
  await errorOf(careless.authorize(TOKEN, undefined, handlers), MisusedError);
  await errorOf(careless.authorize(TOKEN, "mail.example.com", handlers, { deadlineMillis: 0 }), MisusedError);
  assert.equal(replica.received.length, 0);
});

test("a program with types cannot leave out a handler, or test the answer", async () => {
  await world.replica(() => denied(3));
  const client = world.client();
  const misuse = (): void => {
    // @ts-expect-error: there is no answer without handlers.
    void client.authorize(TOKEN, "mail.example.com");
    // @ts-expect-error: a denial needs a handler too.
    void client.authorize(TOKEN, "mail.example.com", { allowed: () => true });
  };
  assert.throws(misuse, MisusedError);
  const nothing = await client.authorize(TOKEN, "mail.example.com", {
    allowed: () => undefined,
    denied: () => undefined,
  });
  assert.equal(nothing, undefined);
});

test("the signal ends a call at once, with its own reason", async () => {
  const replica = await world.replica(() => "never");
  const client = await world.readyClient({ attemptMillis: 10_000, deadlineMillis: 10_000 });
  const controller = new AbortController();
  const start = performance.now();
  const call = ask(client, { signal: controller.signal });
  await until(() => replica.received.length === 1);
  controller.abort();
  assert.equal((await errorOf(call, DOMException)).name, "AbortError");
  await errorOf(ask(client, { signal: controller.signal }), DOMException);
  assert.equal(replica.received.length, 1);
  assert.ok(performance.now() - start < 2_000);
});

test("the signal ends a pause and a wait for an address", async () => {
  const client = world.client({ addresses: ["no-such-name.invalid:50051"], deadlineMillis: 60_000 });
  const start = performance.now();
  await errorOf(ask(client, { signal: AbortSignal.timeout(20) }), DOMException);
  await errorOf(client.waitUntilReady(60_000, { signal: AbortSignal.timeout(20) }), DOMException);
  assert.ok(performance.now() - start < 5_000);
});
