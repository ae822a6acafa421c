/** A replica that does what a test tells it, on a real socket. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { type ClientOptions, KeyServiceClient } from "@tosend/keyservice";
import { Health, HealthCheckResponse_ServingStatus, HealthCheckResponseSchema } from "../src/gen/health_pb.js";
import { AccountService } from "../src/gen/tosend/keys/v1/account_service_pb.js";
import { DomainService } from "../src/gen/tosend/keys/v1/domain_service_pb.js";
import { type AuthorizeResponseSchema, KeyService } from "../src/gen/tosend/keys/v1/key_service_pb.js";

/** A call that a replica has got. */
export interface Received {
  method: string;
  request: Record<string, unknown>;
  authorization: string | undefined;
}

/** Answers a call: with the fields of a response or with an error (or a promise of them), or never. */
export type Answer = (call: Received) => object | Promise<object> | "never";

/** An error that a replica answers with. */
export class Failure {
  constructor(
    readonly code: grpc.status,
    readonly details = "as the test wants",
    readonly metadata = new grpc.Metadata(),
  ) {}
}

export const granted: MessageInitShape<typeof AuthorizeResponseSchema> = {
  granted: true,
  decision: {
    case: "grant",
    value: {
      keyId: "key_1",
      accountId: "acme",
      scope: { kind: { case: "domain", value: "mail.example.com" } },
    },
  },
};

export function denied(reason: number): MessageInitShape<typeof AuthorizeResponseSchema> {
  return { granted: false, decision: { case: "denial", value: { reason, keyId: "key_1", accountId: "acme" } } };
}

export class FakeReplica {
  /** All calls but watches. */
  readonly received: Received[] = [];
  answer: Answer = () => granted;
  /** How many watches were opened. */
  watchCount = 0;
  readonly #watches = new Set<grpc.ServerWritableStream<Message, Message>>();
  #serving = true;
  #silent = false;
  #server: grpc.Server;

  private constructor(
    readonly port: number,
    server: grpc.Server,
  ) {
    this.#server = server;
  }

  static async start(port = 0, credentials = grpc.ServerCredentials.createInsecure()): Promise<FakeReplica> {
    const server = new grpc.Server();
    const bound = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, credentials, (error, port) => (error ? reject(error) : resolve(port)));
    });
    const replica = new FakeReplica(bound, server);
    for (const service of [KeyService, DomainService, AccountService]) {
      const unary = service.methods.filter(({ methodKind }) => methodKind === "unary");
      server.addService(
        definitionOf(service, unary),
        Object.fromEntries(unary.map((method) => [method.localName, replica.#unary(method)])),
      );
    }
    server.addService(definitionOf(Health, Health.methods), {
      watch: (stream: grpc.ServerWritableStream<Message, Message>) => replica.#watch(stream),
    });
    return replica;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** What health says. */
  set serving(serving: boolean) {
    this.#serving = serving;
    this.#tellHealth();
  }

  /** A silent replica has a connection, and says nothing about its health. */
  set silent(silent: boolean) {
    this.#silent = silent;
    this.#tellHealth();
  }

  /** Ends all connections at once. */
  stop(): void {
    this.#server.forceShutdown();
  }

  #tellHealth(): void {
    for (const stream of this.#watches) {
      this.#tell(stream);
    }
  }

  #tell(stream: grpc.ServerWritableStream<Message, Message>): void {
    const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;
    if (!this.#silent) {
      stream.write(create(HealthCheckResponseSchema, { status: this.#serving ? SERVING : NOT_SERVING }));
    }
  }

  #watch(stream: grpc.ServerWritableStream<Message, Message>): void {
    this.watchCount += 1;
    this.#watches.add(stream);
    stream.on("cancelled", () => this.#watches.delete(stream));
    this.#tell(stream);
  }

  #unary(method: DescMethod): grpc.handleUnaryCall<Message, Message> {
    return (call, callback) => {
      const received: Received = {
        method: method.name,
        request: call.request as unknown as Record<string, unknown>,
        authorization: call.metadata.get("authorization")[0]?.toString(),
      };
      this.received.push(received);
      const answer = this.answer(received);
      if (answer !== "never") {
        void Promise.resolve(answer).then((fields) =>
          fields instanceof Failure
            ? callback(fields)
            : callback(null, create(method.output, fields as MessageInitShape<typeof method.output>)),
        );
      }
    };
  }
}

function definitionOf(service: DescService, methods: readonly DescMethod[]): grpc.ServiceDefinition {
  return Object.fromEntries(
    methods.map((method) => [
      method.localName,
      {
        path: `/${service.typeName}/${method.name}`,
        requestStream: false,
        responseStream: method.methodKind === "server_streaming",
        requestSerialize: (message: Message) => Buffer.from(toBinary(method.input, message)),
        requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
        responseSerialize: (message: Message) => Buffer.from(toBinary(method.output, message)),
        responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
      },
    ]),
  );
}

/** What a test has started. It ends with the test. */
export class World {
  readonly replicas: FakeReplica[] = [];
  readonly #clients: KeyServiceClient[] = [];

  async replica(answer?: Answer, ...args: Parameters<typeof FakeReplica.start>): Promise<FakeReplica> {
    const replica = await FakeReplica.start(...args);
    if (answer !== undefined) {
      replica.answer = answer;
    }
    this.replicas.push(replica);
    return replica;
  }

  /** A client of all replicas. */
  client(options: Partial<ClientOptions> = {}): KeyServiceClient {
    const addresses = this.replicas.map(({ address }) => address);
    const client = new KeyServiceClient({ addresses, plaintext: true, ...options });
    this.#clients.push(client);
    return client;
  }

  /** A client that knows of all replicas whether they are ready. */
  async readyClient(options: Partial<ClientOptions> = {}): Promise<KeyServiceClient> {
    const client = this.client(options);
    await client.waitUntilReady(5_000);
    await until(() => this.replicas.every(({ watchCount }) => watchCount > 0));
    return client;
  }

  async end(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    for (const replica of this.replicas) {
      replica.stop();
    }
  }
}

/** Asks, and says which of the two answers came. */
export async function ask(
  client: KeyServiceClient,
  options?: Parameters<KeyServiceClient["authorize"]>[3],
): Promise<{ allowed: object } | { denied: object }> {
  return client.authorize(
    TOKEN,
    "mail.example.com",
    { allowed: (grant) => ({ allowed: grant }), denied: (denial) => ({ denied: denial }) },
    options,
  );
}

export const TOKEN = "tsend_U6tmOk41kvjG9I2dJe4EXZNcfqctxcmkKAhSYJe7FSe0KhjQ1";

/** Waits until the condition holds, 5 s at most. */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 5_000;
  while (!condition()) {
    if (performance.now() > end) {
      throw new Error(`this did not come true: ${condition}`);
    }
    await sleep(5);
  }
}

/** The error that a call ends with. */
export async function errorOf<E extends Error>(
  call: Promise<unknown>,
  type: abstract new (...args: never[]) => E,
): Promise<E> {
  const result = await call.then(
    (value) => new Error(`it gave ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
  if (result instanceof type) {
    return result;
  }
  throw result;
}
