/**
 * An email sender: `POST /v2/emails` with `Authorization: Bearer tsend_…` and a JSON
 * body such as `{"from": "Name <a@mail.example.com>"}`. It asks KeyService whether the
 * token may send for the domain of `from`.
 *
 *     PORT=8080 KEYSERVICE=127.0.0.1:50051 node dist/example/server.js
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { KeyServiceClient, MisusedError, UnavailableError } from "@tosend/keyservice";

/** What becomes of a request: a status, a body, and perhaps headers. */
type Outcome = { status: number; body: object; headers?: Record<string, string> };

const MAX_BODY_BYTES = 1024 * 1024;

const client = new KeyServiceClient({
  addresses: (process.env.KEYSERVICE ?? "127.0.0.1:50051").split(","),
  plaintext: true, // In production: caFile and secretFile, or caFile, certFile and keyFile.
});
const server = createServer(async (request, response) => {
  reply(
    response,
    request.url === "/v2/emails" && request.method === "POST" ? await accept(request) : refusal(404, "NOT_FOUND"),
  );
});

async function accept(request: IncomingMessage): Promise<Outcome> {
  const [, token] = /^Bearer +([^ ]+)$/i.exec(request.headers.authorization ?? "") ?? [];
  if (token === undefined) {
    return refusal(401, "NO_TOKEN");
  }
  const domain = domainOf(await readJson(request));
  if (domain === undefined) {
    return refusal(400, "INVALID_FROM");
  }
  try {
    return await client.authorize<Outcome, Outcome>(token, domain, {
      allowed: ({ accountId }) => ({ status: 202, body: { accepted: true, account: accountId } }), // Send it here.
      denied: ({ reason, httpStatus }) => refusal(httpStatus, reason),
    });
  } catch (error) {
    if (error instanceof MisusedError && error.code === "INVALID_ARGUMENT") {
      return refusal(400, "INVALID_FROM");
    }
    if (error instanceof UnavailableError || error instanceof MisusedError) {
      console.error(error.message);
      return refusal(503, "TRY_AGAIN_LATER");
    }
    throw error;
  }
}

function refusal(status: number, error: string): Outcome {
  return { status, body: { error }, headers: status === 401 ? { "www-authenticate": "Bearer" } : {} };
}

/** The domain of an address such as `Name <a@mail.example.com>`. */
function domainOf(body: unknown): string | undefined {
  const from = typeof body === "object" && body !== null && "from" in body ? String(body.from) : "";
  return /^(?:[^<>]*<[^<>\s]+@([^<>@\s]+)>|[^<>\s]+@([^<>@\s]+))$/.exec(from.trim())?.slice(1).find(Boolean);
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) {
        return undefined;
      }
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined; // It is not JSON, or the caller has gone.
  }
}

function reply(response: ServerResponse, { status, body, headers }: Outcome): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(`${JSON.stringify(body)}\n`);
}

await client.waitUntilReady(30_000);
server.listen(Number(process.env.PORT ?? 8080), () => console.log("listening"));
process.once("SIGTERM", () => server.close(() => void client.close()));
