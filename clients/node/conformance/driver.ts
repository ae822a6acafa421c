/** Runs the library for the test suite, as clients/DRIVER.md describes. */
import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { type ClientOptions, KeyServiceClient, MisusedError, RefusedError, UnavailableError } from "@tosend/keyservice";

/** A line of the input. */
interface Line {
  id: number;
  call: string;
  [field: string]: unknown;
}

let client: KeyServiceClient | undefined;
let options: ClientOptions | undefined;
let lastAnswer: unknown;

const calls: Record<string, (line: Line) => Promise<object>> = {
  async open(line) {
    options = {
      addresses: line.addresses as string[],
      ...(line.plaintext === true && { plaintext: true }),
      ...(typeof line.ca_file === "string" && { caFile: line.ca_file }),
      ...(typeof line.cert_file === "string" && { certFile: line.cert_file }),
      ...(typeof line.key_file === "string" && { keyFile: line.key_file }),
      ...(typeof line.secret_file === "string" && { secretFile: line.secret_file }),
      ...(typeof line.server_name === "string" && { serverName: line.server_name }),
    };
    client = new KeyServiceClient(options);
    return { opened: true };
  },

  async ready(line) {
    return opened()
      .waitUntilReady(Number(line.millis))
      .then(
        () => ({ ready: true }),
        (error) => {
          if (error instanceof UnavailableError) {
            return { ready: false };
          }
          throw error;
        },
      );
  },

  async authorize(line) {
    return opened().authorize(
      line.token as string,
      line.domain as string,
      {
        allowed(grant) {
          lastAnswer = grant;
          const domain = grant.scope.kind === "domain" ? grant.scope.domain : null;
          return { allowed: { key_id: grant.keyId, account_id: grant.accountId, domain } };
        },
        denied(denial) {
          lastAnswer = denial;
          const { reason, keyId = null, accountId = null } = denial;
          return { denied: { reason, key_id: keyId, account_id: accountId } };
        },
      },
      typeof line.deadline_millis === "number" ? { deadlineMillis: line.deadline_millis } : {},
    );
  },

  async create(line) {
    const answer = await opened().create({
      accountId: line.account_id as string,
      name: line.name as string,
      ...(typeof line.domain === "string" && { domain: line.domain }),
    });
    lastAnswer = answer;
    return { created: { key_id: answer.key?.keyId, token: answer.token } };
  },

  async revoke(line) {
    const answer = await opened().revoke({ target: { case: "keyId", value: line.key_id as string } });
    lastAnswer = answer;
    return { revoked: { key_id: answer.key?.keyId } };
  },

  async add_domain(line) {
    lastAnswer = await opened().addDomain({ accountId: line.account_id as string, domain: line.domain as string });
    return { added: true };
  },

  async show() {
    const objects = [client, options, lastAnswer];
    const shown = objects.map((object) => `${inspect(object, { depth: null })} ${JSON.stringify(object)} ${object}`);
    return { shown: shown.join("\n") };
  },
};

function opened(): KeyServiceClient {
  if (client === undefined) {
    throw new MisusedError("no client is open");
  }
  return client;
}

async function answer(line: Line): Promise<void> {
  let result: object;
  try {
    const call = calls[line.call];
    if (call === undefined) {
      throw new MisusedError(`there is no call ${line.call}`);
    }
    result = await call(line);
  } catch (error) {
    lastAnswer = error;
    if (error instanceof UnavailableError) {
      result = { unavailable: String(error) };
    } else if (error instanceof RefusedError) {
      result = { refused: { code: error.code, message: error.text } };
    } else if (error instanceof MisusedError) {
      result = { misused: String(error) };
    } else {
      throw error;
    }
  }
  write(`${JSON.stringify({ id: line.id, ...result })}\n`);
}

let unwritten = "";

/** Writes the lines of a turn at once, as a write to a pipe takes as long as an answer of the library. */
function write(line: string): void {
  if (unwritten === "") {
    setImmediate(() => {
      process.stdout.write(unwritten);
      unwritten = "";
    });
  }
  unwritten += line;
}

const answers = new Set<Promise<void>>();
for await (const text of createInterface({ input: process.stdin })) {
  const pending = answer(JSON.parse(text) as Line);
  answers.add(pending);
  void pending.then(() => answers.delete(pending));
}
await Promise.all(answers);
await client?.close();
