/**
 * One replica: its address, its one connection, and a watch on its health that says
 * whether it is ready.
 */
import { isIP } from "node:net";
import { debuglog } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import {
  Health,
  type HealthCheckRequest,
  HealthCheckRequestSchema,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from "./gen/health_pb.js";
import { VERSION } from "./version.js";

const debug = debuglog("keyservice");

/** How long the first word of a watch may take, on a connection that has worked and on the first one. */
export const FIRST_PATIENCE_MILLIS = 1_000;
/** How long it may take at most on connections that follow one without a word. */
const MAX_PATIENCE_MILLIS = 10_000;
/** The pauses between watches that fail grow from this … */
const MIN_PAUSE_MILLIS = 100;
/** … to this. */
const MAX_PAUSE_MILLIS = 1_000;
/**
 * The deadline that gRPC knows is this much later than the attempt's end, which has a timer of its own. gRPC's would
 * end the attempt without a look at what has arrived, if the program was busy at the time.
 */
const DEADLINE_MARGIN_MILLIS = 1_000;

/**
 * How many calls a connection may have that the server has perhaps not read. They are cancelled when their time is up,
 * and the server closes a connection on which it finds too many of these: 256, by default.
 */
const MAX_UNREAD = 100;

const SERVICE = "tosend.keys.v1.KeyService";
const WATCH_PATH = `/${Health.typeName}/${Health.method.watch.name}`;

/** What a replica, or the library in its place, answered to an attempt. */
export interface Reply {
  readonly code: grpc.status;
  readonly message: string;
  /** The answer, if the code is OK. */
  readonly body?: Buffer | undefined;
  /** The serialised `google.rpc.Status`, if there is one. */
  readonly details?: Buffer | undefined;
}

/** Where a replica is, and how to connect to it. */
export interface Place {
  /** `ip:port`, or `[ip]:port` for IPv6. */
  readonly address: string;
  /** The name that the server's certificate must have. */
  readonly serverName: string;
}

/** What a replica tells the pool. */
export interface ReplicaListener {
  /** `ready` has changed. */
  readyChanged(): void;
  /** `hasRoom` may have changed. */
  roomMade(): void;
  /** The connection may be dead. Put another `Replica` in the place of this one. */
  silent(): void;
}

export class Replica {
  readonly place: Place;
  /** Whether its health says that it can answer. */
  ready = false;
  /** How long the first word on this connection may take. */
  readonly #patienceMillis: number;
  readonly #client: grpc.Client;
  readonly #listener: ReplicaListener;
  #watch: grpc.ClientReadableStream<HealthCheckResponse> | undefined;
  /** Whether the watch has said anything. */
  #hasSpoken = false;
  /** Whether any watch on this connection has. */
  #hasEverSpoken = false;
  /** Runs until the first word of a watch is overdue, or between two watches. */
  #timer: NodeJS.Timeout | undefined;
  #pauseMillis = MIN_PAUSE_MILLIS;
  #callsInFlight = 0;
  /** Calls that were cancelled since the watch began. Its first word shows that the server reads. */
  #unread = 0;
  #retired = false;

  /** Connects. The listener is not called before this has returned. */
  constructor(place: Place, credentials: grpc.ChannelCredentials, patienceMillis: number, listener: ReplicaListener) {
    this.place = place;
    this.#patienceMillis = patienceMillis;
    this.#listener = listener;
    this.#client = new grpc.Client(place.address, credentials, {
      "grpc.ssl_target_name_override": place.serverName,
      "grpc.default_authority": isIP(place.serverName) ? place.address : place.serverName,
      "grpc.primary_user_agent": `tosend-keyservice-node/${VERSION}`,
      // The connection is this replica's alone: channels would share it otherwise.
      "grpc.use_local_subchannel_pool": 1,
      // Attempts and their order are the library's. Without a service config, gRPC itself repeats only a request
      // that the server has refused to begin, as at the end of a connection.
      "grpc.service_config_disable_resolution": 1,
      // The address is the replica's own.
      "grpc.enable_http_proxy": 0,
      // Records of each call, which nobody reads.
      "grpc.enable_channelz": 0,
      "grpc.initial_reconnect_backoff_ms": MIN_PAUSE_MILLIS,
      "grpc.max_reconnect_backoff_ms": MAX_PAUSE_MILLIS,
      "grpc.keepalive_time_ms": 10_000,
      "grpc.keepalive_timeout_ms": 5_000,
    });
    this.#startWatch();
  }

  /** Whether another attempt may be made on this connection. */
  get hasRoom(): boolean {
    return this.#hasSpoken || this.#unread + this.#callsInFlight < MAX_UNREAD;
  }

  /** The state of the connection, such as `TRANSIENT_FAILURE`. */
  get connection(): string {
    return grpc.connectivityState[this.#client.getChannel().getConnectivityState(false)];
  }

  /** The patience with the connection after this one. It grows while none of them says a word. */
  get nextPatienceMillis(): number {
    return this.#hasEverSpoken ? FIRST_PATIENCE_MILLIS : Math.min(this.#patienceMillis * 2, MAX_PATIENCE_MILLIS);
  }

  /**
   * Asks once. The reply comes after `millis` at the latest. If none has come by then,
   * it is DEADLINE_EXCEEDED, and the replica is not ready until a new watch says that
   * it is, unless the time was cut short by the call's deadline. If the signal aborts, the reply is CANCELLED.
   */
  ask(
    path: string,
    request: Buffer,
    metadata: grpc.Metadata,
    millis: number,
    isCutShort: boolean,
    signal?: AbortSignal,
  ): Promise<Reply> {
    this.#callsInFlight += 1;
    return new Promise((resolve) => {
      let isSettled = false;
      const settle = (reply: Reply): void => {
        isSettled = true;
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        resolve(reply);
      };
      // Not makeUnaryRequest, which makes two errors with their stacks for each attempt that fails.
      const deadline = Date.now() + millis + DEADLINE_MARGIN_MILLIS;
      const call = this.#client.getChannel().createCall(path, deadline, null, null, null);
      let body: Buffer | undefined;
      call.start(metadata, {
        onReceiveMetadata: () => undefined,
        onReceiveMessage: (bytes: Buffer) => {
          body = bytes;
        },
        onReceiveStatus: (status) => {
          settle(replyOf(status, body));
          this.#callsInFlight -= 1;
          this.#closeIfUnused();
        },
      });
      call.sendMessageWithContext({}, request);
      call.halfClose();
      call.startRead();
      const cancel = (): void => call.cancelWithStatus(grpc.status.CANCELLED, "cancelled by the client");
      const abort = (): void => {
        settle({ code: grpc.status.CANCELLED, message: "the caller gave up" });
        cancel();
      };
      const timeOut = (): void => {
        if (!isSettled) {
          settle({ code: grpc.status.DEADLINE_EXCEEDED, message: `no answer within ${Math.round(millis)} ms` });
          cancel();
          if (!isCutShort) {
            this.#suspect();
          }
          if (!this.#hasSpoken) {
            this.#unread += 1;
          }
        }
      };
      // If the program was busy, an answer may have arrived that nobody has read. It is read before setImmediate.
      const timer = setTimeout(() => setImmediate(timeOut), millis);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Takes no more calls, and ends the connection once those in flight have ended. */
  retire(): void {
    this.#retired = true;
    this.#endWatch();
    this.#closeIfUnused();
  }

  #closeIfUnused(): void {
    if (this.#retired && this.#callsInFlight === 0) {
      this.#client.close();
    }
  }

  /** The replica did not answer in time: only a new watch can make it ready again. */
  #suspect(): void {
    if (!this.#retired && this.#hasSpoken) {
      this.#endWatch();
      this.#setReady(false);
      this.#startWatch();
    }
  }

  #startWatch(): void {
    const metadata = new grpc.Metadata({ waitForReady: true });
    const startMillis = performance.now();
    const watch = this.#client.makeServerStreamRequest(
      WATCH_PATH,
      (request: HealthCheckRequest) => Buffer.from(toBinary(HealthCheckRequestSchema, request)),
      (bytes: Buffer) => fromBinary(HealthCheckResponseSchema, bytes),
      create(HealthCheckRequestSchema, { service: SERVICE }),
      metadata,
    );
    this.#watch = watch;
    this.#hasSpoken = false;
    const patienceMillis = this.#hasEverSpoken ? FIRST_PATIENCE_MILLIS : this.#patienceMillis;
    const giveUp = (): void => {
      if (watch === this.#watch && !this.#hasSpoken) {
        this.#listener.silent();
      }
    };
    this.#timer = setTimeout(() => setImmediate(giveUp), patienceMillis); // As in ask.
    watch.on("data", ({ status }: HealthCheckResponse) => {
      if (watch === this.#watch) {
        clearTimeout(this.#timer);
        this.#hasSpoken = true;
        this.#hasEverSpoken = true;
        this.#makeRoom();
        this.#setReady(status === HealthCheckResponse_ServingStatus.SERVING);
      }
    });
    watch.on("error", () => {
      // The event "status" says the same.
    });
    watch.on("status", ({ code }: grpc.StatusObject) => {
      if (watch === this.#watch) {
        debug("%s: the watch has ended with %s", this.place.address, grpc.status[code]);
        this.#endWatch();
        this.#makeRoom();
        this.#setReady(false);
        const hasLasted = performance.now() - startMillis > MAX_PAUSE_MILLIS;
        this.#timer = setTimeout(() => this.#startWatch(), hasLasted ? 0 : this.#pauseMillis);
        this.#pauseMillis = hasLasted ? MIN_PAUSE_MILLIS : Math.min(this.#pauseMillis * 2, MAX_PAUSE_MILLIS);
      }
    });
  }

  #endWatch(): void {
    clearTimeout(this.#timer);
    const watch = this.#watch;
    this.#watch = undefined;
    this.#hasSpoken = false;
    watch?.cancel();
  }

  /** The server has read all that was sent before the watch, or the connection has ended. */
  #makeRoom(): void {
    this.#unread = 0;
    this.#listener.roomMade();
  }

  #setReady(ready: boolean): void {
    if (this.ready !== ready) {
      this.ready = ready;
      debug("%s: %s", this.place.address, ready ? "ready" : "not ready");
      this.#listener.readyChanged();
    }
  }
}

function replyOf({ code, details: text, metadata }: grpc.StatusObject, body: Buffer | undefined): Reply {
  if (code === grpc.status.OK) {
    return { code, message: "", body };
  }
  const details = metadata.get("grpc-status-details-bin")[0];
  const message = text.replace(/ Resolution note: $/, "");
  return { code, message, details: Buffer.isBuffer(details) ? details : undefined };
}
