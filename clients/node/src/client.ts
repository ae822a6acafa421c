/** The client: what a program makes once, and asks. */
import { randomUUID } from "node:crypto";
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { type Decision, decisionOf, type Handlers } from "./answer.js";
import { ask, type Connections, type Question } from "./call.js";
import { Credentials } from "./credentials.js";
import { MisusedError, UnavailableError } from "./errors.js";
import * as accounts from "./gen/tosend/keys/v1/account_service_pb.js";
import * as domains from "./gen/tosend/keys/v1/domain_service_pb.js";
import * as keys from "./gen/tosend/keys/v1/key_service_pb.js";
import { encode, prepare } from "./messages.js";
import { Metrics } from "./metrics.js";
import { type CallOptions, type ClientOptions, millis, type Settings, settingsOf } from "./options.js";
import { Pool } from "./pool.js";
import { Slots } from "./slots.js";

/** Few enough that Node reads their answers in half an attempt's time, even before it has compiled the code. */
const MAX_ATTEMPTS_IN_FLIGHT = 100;

/**
 * More than any token or domain has, and few enough for the server's limit on a message. A longer token is none, and
 * is none when it is cut. A longer domain must not be cut: what is left of it may be another domain.
 */
const MAX_CHARACTERS = 1_000;

/** A request, with the fields that are needed. The types of the fields are those of the proto. */
export type Request<Desc extends DescMessage> = MessageInitShape<Desc>;

/**
 * Asks KeyService. Make one client, and share it: it has a connection to each replica.
 *
 * Every call ends within its deadline, and throws `UnavailableError`, `MisusedError`
 * or, for an admin call, `RefusedError`, if it has no answer. If the signal of a call
 * aborts, the call throws the signal's reason at once.
 *
 * An admin call is tried again where it may succeed. After `UnavailableError`, the
 * change may or may not have been made: call again.
 */
export class KeyServiceClient {
  readonly #settings: Settings;
  readonly #connections: Connections;
  readonly #slots = new Slots(MAX_ATTEMPTS_IN_FLIGHT);
  /** Admin calls may be slow, and keep no slot from `authorize`. */
  readonly #adminSlots = new Slots(MAX_ATTEMPTS_IN_FLIGHT);
  readonly #callsInFlight = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  /**
   * Reads the files and begins to connect to all replicas. It waits for none: see
   * `waitUntilReady`. Set up OpenTelemetry before, if you want the metrics.
   *
   * Throws `MisusedError` if the options or a file cannot be used.
   */
  constructor(options: ClientOptions) {
    this.#settings = settingsOf(options);
    const credentials = new Credentials(this.#settings.files);
    const metrics = new Metrics();
    const pool = new Pool(this.#settings.endpoints, this.#settings.serverName, credentials, metrics);
    this.#connections = { pool, credentials, metrics };
  }

  /**
   * Asks whether a token may send for a domain. Calls one of the two handlers with the
   * answer, and resolves to what that handler returns.
   *
   * ```ts
   * const response = await client.authorize(token, "mail.example.com", {
   *   allowed: (grant) => send(grant.accountId),
   *   denied: (denial) => refuse(denial.reason),
   * });
   * ```
   *
   * Without both handlers it throws `MisusedError` at once, and asks nothing. So nobody
   * can take a denial for a grant: there is no answer to be tested. An error that a
   * handler throws is passed on.
   */
  authorize<Allowed, Denied>(
    token: string,
    domain: string,
    handlers: Handlers<Allowed, Denied>,
    options: CallOptions = {},
  ): Promise<Awaited<Allowed> | Awaited<Denied>> {
    if (typeof handlers?.allowed !== "function" || typeof handlers.denied !== "function") {
      throw new MisusedError("authorize needs two handlers, { allowed, denied }: its result is not the answer");
    }
    return this.#decide(token, domain, options).then<Awaited<Allowed> | Awaited<Denied>>((decision) =>
      "grant" in decision
        ? Promise.resolve(handlers.allowed(decision.grant))
        : Promise.resolve(handlers.denied(decision.denial)),
    );
  }

  /**
   * Waits until a replica is ready. Let your program's own readiness depend on it.
   *
   * Throws `UnavailableError` if none is after so many milliseconds.
   */
  async waitUntilReady(timeoutMillis: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const { pool } = this.#connections;
    const isOver = (): boolean => pool.isReady || this.#closed !== undefined;
    await pool.waitUntil(isOver, millis("timeoutMillis", timeoutMillis, 0), signal);
    signal?.throwIfAborted();
    this.#throwIfClosed();
    if (!pool.isReady) {
      throw new UnavailableError(`no replica is ready after ${timeoutMillis} ms`, [
        ...pool.unready,
        ...pool.failedLookUps,
      ]);
    }
  }

  /**
   * Ends the client: takes no more calls, lets those in flight end, and closes all
   * connections. A program that does not close its client does not end by itself.
   */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#callsInFlight).then(() => this.#connections.pool.close());
    return this.#closed;
  }

  /** The same as `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Creates a key. The answer has its token, which can never be shown again.
   *
   * Without a `requestId` the library makes one, so that its own retries never create
   * a second key. If the answer to the first attempt was lost, this throws
   * `RefusedError` with the code `ALREADY_EXISTS` and the key's id as `resourceName`:
   * revoke that key and create another.
   */
  create(request: Request<typeof keys.CreateRequestSchema>, options?: CallOptions): Promise<keys.CreateResponse> {
    return this.#admin(keys.KeyService.method.create, { requestId: randomUUID(), ...request }, options);
  }

  /** Lists the keys of an account, page by page: until `nextPageToken` is empty. */
  list(request: Request<typeof keys.ListRequestSchema>, options?: CallOptions): Promise<keys.ListResponse> {
    return this.#admin(keys.KeyService.method.list, request, options);
  }

  /** Gives one key, by its id or its token. */
  get(request: Request<typeof keys.GetRequestSchema>, options?: CallOptions): Promise<keys.GetResponse> {
    return this.#admin(keys.KeyService.method.get, request, options);
  }

  /**
   * Changes the fields of a key that `updateMask` names.
   *
   * With an `etag`, a `RefusedError` with the reason `ETAG_MISMATCH` may be due to this
   * very call: its first attempt may have made the change, and its answer was lost. Get
   * the key to see.
   */
  update(request: Request<typeof keys.UpdateRequestSchema>, options?: CallOptions): Promise<keys.UpdateResponse> {
    return this.#admin(keys.KeyService.method.update, request, options);
  }

  /**
   * Replaces a key by a successor with a new token. For `requestId`, and for a lost
   * answer, the same holds as for `create`: then rotate the successor, with an overlap
   * of 0. A second rotation of a key is refused with the reason `KEY_ROTATED`.
   */
  rotate(request: Request<typeof keys.RotateRequestSchema>, options?: CallOptions): Promise<keys.RotateResponse> {
    return this.#admin(keys.KeyService.method.rotate, { requestId: randomUUID(), ...request }, options);
  }

  /** Suspends a key until it is resumed. */
  suspend(request: Request<typeof keys.SuspendRequestSchema>, options?: CallOptions): Promise<keys.SuspendResponse> {
    return this.#admin(keys.KeyService.method.suspend, request, options);
  }

  /** Ends a key's suspension. */
  resume(request: Request<typeof keys.ResumeRequestSchema>, options?: CallOptions): Promise<keys.ResumeResponse> {
    return this.#admin(keys.KeyService.method.resume, request, options);
  }

  /** Revokes a key for good. When this resolves, no replica grants it. */
  revoke(request: Request<typeof keys.RevokeRequestSchema>, options?: CallOptions): Promise<keys.RevokeResponse> {
    return this.#admin(keys.KeyService.method.revoke, request, options);
  }

  /**
   * Revokes the keys that a filter selects, or given ones. A filter without fields
   * selects all keys of the account. If the answer says `thereAreMore`, call again.
   *
   * If an attempt's answer was lost, `revokedCount` does not count what that attempt
   * has revoked.
   */
  batchRevoke(
    request: Request<typeof keys.BatchRevokeRequestSchema>,
    options?: CallOptions,
  ): Promise<keys.BatchRevokeResponse> {
    return this.#admin(keys.KeyService.method.batchRevoke, request, options);
  }

  /** Says that a domain is verified for an account. */
  addDomain(
    request: Request<typeof domains.AddDomainRequestSchema>,
    options?: CallOptions,
  ): Promise<domains.AddDomainResponse> {
    return this.#admin(domains.DomainService.method.addDomain, request, options);
  }

  /**
   * Takes a domain from an account. When this resolves, no replica grants it to the
   * account, unless a domain above it does: `stillVerifiedBy` in the answer.
   */
  removeDomain(
    request: Request<typeof domains.RemoveDomainRequestSchema>,
    options?: CallOptions,
  ): Promise<domains.RemoveDomainResponse> {
    return this.#admin(domains.DomainService.method.removeDomain, request, options);
  }

  /** Lists the domains of an account, page by page: until `nextPageToken` is empty. */
  listDomains(
    request: Request<typeof domains.ListDomainsRequestSchema>,
    options?: CallOptions,
  ): Promise<domains.ListDomainsResponse> {
    return this.#admin(domains.DomainService.method.listDomains, request, options);
  }

  /** Denies all keys of an account until it is resumed. */
  suspendAccount(
    request: Request<typeof accounts.SuspendAccountRequestSchema>,
    options?: CallOptions,
  ): Promise<accounts.SuspendAccountResponse> {
    return this.#admin(accounts.AccountService.method.suspendAccount, request, options);
  }

  /** Ends an account's suspension. */
  resumeAccount(
    request: Request<typeof accounts.ResumeAccountRequestSchema>,
    options?: CallOptions,
  ): Promise<accounts.ResumeAccountResponse> {
    return this.#admin(accounts.AccountService.method.resumeAccount, request, options);
  }

  /** Says whether an account is suspended, and what it has. */
  getAccount(
    request: Request<typeof accounts.GetAccountRequestSchema>,
    options?: CallOptions,
  ): Promise<accounts.GetAccountResponse> {
    return this.#admin(accounts.AccountService.method.getAccount, request, options);
  }

  async #decide(token: string, domain: string, options: CallOptions): Promise<Decision> {
    const start = performance.now();
    const { metrics } = this.#connections;
    const { authorize } = keys.KeyService.method;
    try {
      if (typeof token !== "string" || typeof domain !== "string") {
        throw new MisusedError("the token and the domain must be strings");
      }
      if (domain.length > MAX_CHARACTERS) {
        throw new MisusedError("the domain is too long; a domain has at most 253 characters", "INVALID_ARGUMENT");
      }
      const decision = await this.#ask({
        method: authorize,
        request: encode(authorize.input, { token: token.slice(0, MAX_CHARACTERS), domain }),
        deadlineMillis: millis("deadlineMillis", options.deadlineMillis, this.#settings.deadlineMillis),
        maxAttempts: this.#settings.maxAttempts,
        slots: this.#slots,
        attemptMillis: this.#settings.attemptMillis,
        isAdmin: false,
        signal: options.signal,
        read: decisionOf,
      });
      metrics.authorizeEnded("grant" in decision ? "allowed" : "denied", performance.now() - start);
      return decision;
    } catch (error) {
      if (error instanceof UnavailableError || error instanceof MisusedError) {
        const outcome = error instanceof UnavailableError ? "unavailable" : "misused";
        metrics.authorizeEnded(outcome, performance.now() - start);
      }
      throw error;
    }
  }

  async #admin<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    request: Request<Input>,
    options: CallOptions = {},
  ): Promise<MessageShape<Output>> {
    return this.#ask({
      method,
      request: encode(method.input, request),
      deadlineMillis: millis("deadlineMillis", options.deadlineMillis, this.#settings.adminDeadlineMillis),
      maxAttempts: this.#settings.maxAttempts,
      slots: this.#adminSlots,
      attemptMillis: this.#settings.attemptMillis,
      isAdmin: true,
      signal: options.signal,
      read: (response) => prepare(method.output, response),
    });
  }

  async #ask<Output extends DescMessage, Answer>(question: Question<Output, Answer>): Promise<Answer> {
    this.#throwIfClosed();
    const call = ask(this.#connections, question);
    this.#callsInFlight.add(call);
    try {
      return await call;
    } finally {
      this.#callsInFlight.delete(call);
    }
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) {
      throw new MisusedError("the client is closed");
    }
  }
}
