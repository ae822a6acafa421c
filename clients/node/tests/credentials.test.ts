import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import dns from "node:dns";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, mock, test } from "node:test";
import { ServerCredentials } from "@grpc/grpc-js";
import { KeyServiceClient, MisusedError, UnavailableError } from "@tosend/keyservice";
import { ask, errorOf, until, World } from "./support.js";

let world: World;
let folder: string;
const warnings: string[] = [];
const remember = ({ message }: Error): number => warnings.push(message);
beforeEach(() => {
  world = new World();
  folder = mkdtempSync(join(tmpdir(), "keyservice-"));
  warnings.length = 0;
  process.on("warning", remember);
});
afterEach(async () => {
  mock.restoreAll();
  await world.end();
  process.off("warning", remember);
  rmSync(folder, { recursive: true });
});

function write(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** A certificate for localhost that is its own authority. */
function certificate(name: string): { cert: string; key: string } {
  const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  execFileSync("openssl", ["req", ...kind, ...subject, "-out", cert, "-keyout", key], { stdio: "pipe" });
  return { cert, key };
}

test("a new secret counts, and a bad one changes nothing and is reported without being shown", async () => {
  const replica = await world.replica();
  const secretFile = write("secret", "tsop_first\n");
  const client = await world.readyClient({ secretFile });
  await ask(client);
  assert.equal(replica.received.at(-1)?.authorization, "Bearer tsop_first");

  write("secret", "tsop_second\nX-Evil: yes\n");
  await until(() => warnings.length > 0);
  await ask(client);
  assert.equal(replica.received.at(-1)?.authorization, "Bearer tsop_first");
  assert.ok(warnings[0]?.includes(secretFile));
  assert.ok(!warnings[0]?.includes("tsop_"));

  rmSync(secretFile);
  await until(() => warnings.length > 1);
  await ask(client);
  assert.equal(replica.received.at(-1)?.authorization, "Bearer tsop_first");

  write("secret", "tsop_third");
  await until(() => {
    void ask(client);
    return replica.received.at(-1)?.authorization === "Bearer tsop_third";
  });
  assert.equal(warnings.length, 2);
});

test("a secret leaves this machine by no name", async () => {
  mock.method(dns.promises, "lookup", async () => [{ address: "10.0.0.1", family: 4 }]);
  const client = world.client({ addresses: ["localhost:1"], secretFile: write("secret", "tsop_x") });
  const error = await errorOf(ask(client, { deadlineMillis: 100 }), UnavailableError);
  assert.match(error.message, /not sent to 10\.0\.0\.1 without TLS/);
});

test("files that cannot be used are misuse, and are not shown", () => {
  const good = certificate("good");
  const other = certificate("other");
  const pem = readFileSync(good.cert, "latin1");
  const bad = {
    "a missing file": { secretFile: join(folder, "missing") },
    "an empty secret": { secretFile: write("empty", "\n") },
    "two secrets": { secretFile: write("two", "tsop_one\ntsop_two\n") },
    "a secret with an umlaut": { secretFile: write("umlaut", "tsop_ü") },
    "an authorities' file without one": { caFile: write("none.pem", "tsop_one") },
    "an authorities' file that was cut off": { caFile: write("cut.pem", pem.slice(0, pem.length / 2)) },
    "an authorities' file with rubbish": { caFile: write("rubbish.pem", pem.replace(/\n..../, "\nAAAA")) },
    "a key of another certificate": { certFile: good.cert, keyFile: other.key },
    "a certificate as a key": { certFile: good.cert, keyFile: good.cert },
  };
  for (const [what, files] of Object.entries(bad)) {
    assert.throws(
      () => new KeyServiceClient({ addresses: ["localhost:1"], ...files }),
      (error: Error) =>
        error instanceof MisusedError && error.message.includes(folder) && !error.message.includes("tsop_"),
      what,
    );
  }
});

test("mTLS: the server's name is checked, and a new certificate is used on new connections", async () => {
  const server = certificate("server");
  const mine = certificate("client");
  const mineNow = readFileSync(mine.cert);
  const both = Buffer.concat([mineNow, readFileSync(certificate("client2").cert)]);
  const pair = { cert_chain: readFileSync(server.cert), private_key: readFileSync(server.key) };
  const replica = await world.replica(undefined, 0, ServerCredentials.createSsl(both, [pair], true));
  const addresses = [`localhost:${replica.port}`];
  const files = { plaintext: false, caFile: server.cert, certFile: mine.cert, keyFile: mine.key };

  const client = world.client({ addresses, ...files });
  assert.ok("allowed" in (await ask(client)));
  const wrongName = world.client({ addresses, ...files, serverName: "keys.test" });
  assert.match((await errorOf(ask(wrongName), Error)).message, /UNAVAILABLE/);
  const wrongAuthority = world.client({ addresses, ...files, caFile: certificate("stranger").cert });
  assert.match((await errorOf(ask(wrongAuthority), Error)).message, /UNAVAILABLE/);

  // First the new certificate, which does not belong to the old key. Nothing breaks.
  await client.waitUntilReady(5_000);
  const watches = replica.watchCount;
  writeFileSync(mine.cert, readFileSync(join(folder, "client2.pem")));
  await until(() => warnings.length === 1);
  assert.equal(replica.watchCount, watches);
  assert.ok("allowed" in (await ask(client)));
  writeFileSync(mine.key, readFileSync(join(folder, "client2.key")));
  await until(() => replica.watchCount > watches);
  assert.ok("allowed" in (await ask(client)));
});
