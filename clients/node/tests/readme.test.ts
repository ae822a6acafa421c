/** The handler that the page of this package shows. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { type KeyServiceClient, MisusedError, UnavailableError } from "@tosend/keyservice";
import { type Answer, denied, Failure, granted, World } from "./support.js";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

type Handler = (client: KeyServiceClient, authorization: string, sender: string) => Promise<number>;

function handlerOfThePage(): Handler {
  const page = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, shown] = /```js\n.*?(async function statusFor.*?)```/s.exec(page) ?? [];
  const make = new Function("MisusedError", "UnavailableError", `${shown}\nreturn statusFor;`);
  return make(MisusedError, UnavailableError);
}

const ends: [number, Answer][] = [
  [202, () => granted],
  [401, () => denied(3)],
  [403, () => denied(6)],
  [503, () => new Failure(status.UNAVAILABLE)],
  [400, () => new Failure(status.INVALID_ARGUMENT)],
  [503, () => new Failure(status.PERMISSION_DENIED)],
];
for (const [expected, answer] of ends) {
  test(`the handler of the page answers ${expected} to ${answer}`, async () => {
    await world.replica(answer);
    const client = await world.readyClient();
    const statusFor = handlerOfThePage();
    assert.equal(await statusFor(client, "Bearer tsend_x", "a@mail.example.com"), expected);
    assert.equal(await statusFor(client, "Basic abc", "a@mail.example.com"), 401);
  });
}
