import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { create, type DescField, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, status } from "@grpc/grpc-js";
import {
  KeyStatus,
  MisusedError,
  RefusedError,
  timestampDate,
  timestampFromDate,
  UnavailableError,
} from "@tosend/keyservice";
import { ErrorInfoSchema, ResourceInfoSchema } from "../src/gen/error_details_pb.js";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import { AccountService } from "../src/gen/tosend/keys/v1/account_service_pb.js";
import { DomainService } from "../src/gen/tosend/keys/v1/domain_service_pb.js";
import { KeyService } from "../src/gen/tosend/keys/v1/key_service_pb.js";
import { errorOf, Failure, TOKEN, until, World } from "./support.js";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

/** An error with the details that the server sends. */
function failure(code: status, reason: string, resourceName?: string): Failure {
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "keys.tosend" }))];
  if (resourceName !== undefined) {
    details.push(anyPack(ResourceInfoSchema, create(ResourceInfoSchema, { resourceType: "key", resourceName })));
  }
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, create(StatusSchema, { code, details }))));
  return new Failure(code, "the server's text", metadata);
}

test("a call waits for a lone replica that restarts", async () => {
  const replica = await world.replica(() => new Failure(status.UNAVAILABLE));
  replica.serving = false;
  const client = world.client();
  setTimeout(() => {
    replica.answer = () => ({});
    replica.serving = true;
  }, 500);
  await client.revoke({ target: { case: "keyId", value: "key_1" } });
  assert.equal(replica.received.length, 2);
});

test("each call of the three services has its method", async () => {
  const replica = await world.replica(() => ({}));
  const client = world.client();
  const methods = [KeyService, DomainService, AccountService].flatMap(({ methods }) => methods);
  for (const { localName, name } of methods.filter(({ localName }) => !localName.startsWith("authorize"))) {
    await (client as unknown as Record<string, (request: object) => Promise<object>>)[localName]?.({});
    assert.equal(replica.received.at(-1)?.method, name);
  }
  assert.equal(replica.received.length, 15);
});

test("fields go and come as the types say", async () => {
  const createTime = new Date("2026-11-26T10:03:47.058Z");
  const replica = await world.replica(() => ({
    keys: [{ keyId: "key_1", status: KeyStatus.REVOKED, createTime: timestampFromDate(createTime) }],
    totalSize: 7n,
  }));
  const answer = await world.client().list({ accountId: "acme", labels: { environment: "test" }, showTotalSize: true });
  assert.deepEqual(replica.received[0]?.request.labels, { environment: "test" });
  assert.equal(answer.keys[0]?.status, KeyStatus.REVOKED);
  assert.deepEqual(answer.keys[0]?.createTime && timestampDate(answer.keys[0].createTime), createTime);
  assert.equal(answer.totalSize, 7n);
  const key = { keyId: "key_1", status: "STATUS_REVOKED", createTime: "2026-11-26T10:03:47.058Z" };
  assert.deepEqual(JSON.parse(JSON.stringify(answer)), { keys: [key], totalSize: "7" });
  assert.deepEqual(JSON.parse(JSON.stringify(answer.keys)), [key]);
});

const TRANSIENT = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "CANCELLED", "RESOURCE_EXHAUSTED"];
const MISUSED = ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED"];
for (const code of Object.values(status).filter((code) => typeof code === "number" && code !== status.OK) as status[]) {
  const name = status[code];
  if (TRANSIENT.includes(name)) {
    test(`an admin call is tried again after ${name}`, async () => {
      const replica = await world.replica(() => new Failure(code));
      await errorOf(world.client().get({}), UnavailableError);
      assert.equal(replica.received.length, 4);
    });
  } else {
    const type = MISUSED.includes(name) ? MisusedError : RefusedError;
    test(`an admin call ends with ${name}`, async () => {
      const replica = await world.replica(() => new Failure(code));
      const error = await errorOf<MisusedError | RefusedError>(world.client().get({}), type);
      assert.equal(error.code, name);
      assert.equal(replica.received.length, 1);
    });
  }
}

test("a refusal has the reason and the resource's name", async () => {
  await world.replica(() => failure(status.ALREADY_EXISTS, "REQUEST_ID_USED", "key_7"));
  const error = await errorOf(world.client().create({ accountId: "acme", name: "Newsletter" }), RefusedError);
  const { code, text, reason, resourceName, message } = error;
  assert.deepEqual(
    { code, text, reason, resourceName },
    { code: "ALREADY_EXISTS", text: "the server's text", reason: "REQUEST_ID_USED", resourceName: "key_7" },
  );
  assert.equal(message, "ALREADY_EXISTS (REQUEST_ID_USED): the server's text");
});

test("the reason of a refusal forges no line", async () => {
  await world.replica(() => failure(status.ALREADY_EXISTS, "USED\nall is well", "key_7\u001b[31m"));
  const error = await errorOf(world.client().create({ accountId: "acme", name: "Newsletter" }), RefusedError);
  assert.equal(error.message, "ALREADY_EXISTS (USED all is well): the server's text");
  assert.equal(error.resourceName, "key_7 [31m");
});

test("an account that is full is a refusal", async () => {
  const replica = await world.replica(() => failure(status.RESOURCE_EXHAUSTED, "TOO_MANY_KEYS"));
  const error = await errorOf(world.client().create({ accountId: "acme", name: "Newsletter" }), RefusedError);
  assert.equal(error.reason, "TOO_MANY_KEYS");
  assert.equal(replica.received.length, 1);
});

test("all attempts of a create or a rotate have one request id", async () => {
  const replica = await world.replica(() => new Failure(status.UNAVAILABLE));
  const client = world.client();
  const ids = (): unknown[] => replica.received.splice(0).map(({ request }) => request.requestId);
  await errorOf(client.create({ accountId: "acme", name: "Newsletter" }), UnavailableError);
  const [first, ...others] = ids();
  assert.match(String(first), /^[0-9a-f-]{36}$/);
  assert.deepEqual(others, [first, first, first]);
  await errorOf(client.rotate({ target: { case: "keyId", value: "key_1" } }), UnavailableError);
  assert.equal(new Set([first, ...ids()]).size, 2);
  await errorOf(client.create({ accountId: "acme", name: "Newsletter", requestId: "mine" }), UnavailableError);
  assert.deepEqual(ids(), ["mine", "mine", "mine", "mine"]);
});

test("each attempt of an admin call has half of what is left", async () => {
  const replica = await world.replica(() => "never");
  const client = await world.readyClient();
  const start = performance.now();
  const error = await errorOf(client.get({}, { deadlineMillis: 400 }), UnavailableError);
  const took = performance.now() - start;
  assert.ok(took > 350 && took < 450, `${took}`);
  assert.equal(replica.received.length, error.attempts.length);
  assert.match(error.message, /no answer within 200 ms/);
});

test("the signal ends an admin call", async () => {
  const replica = await world.replica(() => "never");
  const controller = new AbortController();
  const call = world.client().get({}, { signal: controller.signal });
  await until(() => replica.received.length === 1);
  controller.abort(new Error("enough"));
  assert.equal((await errorOf(call, Error)).message, "enough");
});

test("a field that is misspelt or undefined is misuse, and nothing is asked", async () => {
  const replica = await world.replica(() => ({}));
  const client = await world.readyClient();
  const domain: string | undefined = undefined;
  const careless = [
    client.create({ accountId: "acme", name: "n", domain: domain as unknown as string }),
    client.create({ accountId: "acme", name: "n", domian: "mail.example.com" } as object),
    client.batchRevoke({
      accountId: "acme",
      reason: "r",
      selection: { case: "filter", value: { domian: "mail.example.com" } as object },
    }),
    client.batchRevoke({
      accountId: "acme",
      reason: "r",
      selection: { case: "filter", value: { domain: domain as unknown as string } },
    }),
    client.revoke({ keyId: "key_1" } as object),
    client.get(null as never),
    client.create({ accountId: "acme", name: "n", expireTime: new Date() as object }),
    client.list({ accountId: "acme", pageSize: TOKEN as unknown as number }),
  ];
  for (const call of careless) {
    assert.ok(!(await errorOf(call, MisusedError)).message.includes(TOKEN));
  }
  assert.equal(replica.received.length, 0);
});

test("no answer has a field to be redacted where the library would not find it", () => {
  const seen = new Set<DescMessage>();
  const check = (desc: DescMessage): void => {
    if (!seen.has(desc)) {
      seen.add(desc);
      for (const field of desc.fields as DescField[]) {
        assert.ok(!field.proto.options?.debugRedact || (field.fieldKind === "scalar" && !field.oneof), `${field}`);
        assert.ok(field.fieldKind !== "map" || field.mapKind === "scalar", `${field}`);
        if (field.message !== undefined) {
          check(field.message);
        }
      }
    }
  };
  for (const service of [KeyService, DomainService, AccountService]) {
    for (const method of service.methods) {
      check(method.output);
    }
  }
});
