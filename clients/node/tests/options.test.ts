import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { KeyServiceClient, MisusedError, VERSION } from "@tosend/keyservice";

const good = { addresses: ["127.0.0.1:1"], plaintext: true };
const misused: Record<string, object> = {
  "no addresses": { ...good, addresses: [] },
  "one address that is not in a list": { ...good, addresses: "127.0.0.1:1" },
  "an address without a port": { ...good, addresses: ["keys.example.org"] },
  "a port of 0": { ...good, addresses: ["keys.example.org:0"] },
  "a port above 65535": { ...good, addresses: ["keys.example.org:65536"] },
  "a URL": { ...good, addresses: ["https://keys.example.org:443"] },
  "IPv6 without brackets": { ...good, addresses: ["::1:50051"] },
  "a name in brackets": { ...good, addresses: ["[localhost]:50051"] },
  "an unknown option": { ...good, secret_file: "secret" },
  "a certificate without its key": { addresses: good.addresses, certFile: "cert.pem" },
  "a key without its certificate": { addresses: good.addresses, keyFile: "key.pem" },
  "plain text and an authorities' file": { ...good, caFile: "ca.pem" },
  "plain text and a server's name": { ...good, serverName: "keys.test" },
  "plain text as a string": { ...good, plaintext: "no" },
  "a secret in plain text over the network": { ...good, addresses: ["10.0.0.7:1"], secretFile: "secret" },
  "a secret in plain text to a name": { ...good, addresses: ["127.0.0.1:1", "keys.test:1"], secretFile: "secret" },
  "an empty file name": { addresses: good.addresses, secretFile: "" },
  "a deadline of 0": { ...good, deadlineMillis: 0 },
  "a deadline that is not a number": { ...good, deadlineMillis: Number.NaN },
  "a deadline that no timer can keep": { ...good, adminDeadlineMillis: 2 ** 31 },
  "a deadline as a text": { ...good, attemptMillis: "200" },
  "no attempts": { ...good, maxAttempts: 0 },
  "half an attempt": { ...good, maxAttempts: 1.5 },
};

for (const [what, options] of Object.entries(misused)) {
  test(`${what} is misuse`, () => {
    assert.throws(() => new KeyServiceClient(options as never), MisusedError);
  });
}

test("addresses of all forms", async () => {
  const addresses = ["localhost:1", "127.0.0.1:1", "[::1]:1", "keys.example.org:65535"];
  await new KeyServiceClient({ addresses, plaintext: true }).close();
  await using client = new KeyServiceClient({ addresses });
  assert.ok(client);
});

test("the version is the package's", () => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  assert.equal(VERSION, version);
});
