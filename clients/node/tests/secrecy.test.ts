import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { status } from "@grpc/grpc-js";
import { type CreateResponse, KeyServiceError } from "@tosend/keyservice";
import { ask, denied, Failure, granted, TOKEN, World } from "./support.js";

const SECRET = "tsop_not-to-be-seen";

function assertSilent(what: unknown): void {
  const all = [
    inspect(what, { depth: null }),
    inspect(what, { depth: null, showHidden: true }),
    JSON.stringify(what),
    String(what),
    inspect({ ...(what as object) }),
    inspect(
      structuredClone(what instanceof Error || !(what as { toJSON?: unknown }).toJSON ? {} : { ...(what as object) }),
    ),
  ].join("\n");
  assert.ok(!all.includes(TOKEN) && !all.includes(SECRET), all);
}

test("nothing of the library prints a token or a secret", async () => {
  const world = new World();
  const folder = mkdtempSync(join(tmpdir(), "keyservice-"));
  try {
    const secretFile = join(folder, "secret");
    writeFileSync(secretFile, SECRET);
    const replica = await world.replica(({ method }) =>
      method === "Authorize" ? granted : { token: TOKEN, key: { keyId: "key_1" } },
    );
    const client = await world.readyClient({ secretFile });
    assertSilent(client);
    assertSilent(await ask(client));
    replica.answer = () => denied(3);
    assertSilent(await ask(client));

    replica.answer = () => ({ token: TOKEN, key: { keyId: "key_1" } });
    const created: CreateResponse = await client.create({ accountId: "acme", name: "Newsletter" });
    assert.equal(created.token, TOKEN);
    assert.equal(created.key?.keyId, "key_1");
    assertSilent(created);
    const rotated = await client.rotate({ target: { case: "token", value: TOKEN } });
    assert.equal(rotated.token, TOKEN);
    assertSilent(rotated);

    for (const code of [status.UNAVAILABLE, status.UNAUTHENTICATED, status.NOT_FOUND]) {
      replica.answer = () => new Failure(code);
      for (const call of [() => ask(client), () => client.get({ target: { case: "token", value: TOKEN } })]) {
        const error = await call().then(
          () => undefined,
          (error: unknown) => error,
        );
        assert.ok(error instanceof KeyServiceError);
        assertSilent(error);
      }
    }
    replica.stop();
    const error = await ask(client).catch((error: unknown) => error);
    assert.ok(error instanceof KeyServiceError);
    assertSilent(error);
  } finally {
    await world.end();
    rmSync(folder, { recursive: true });
  }
});
