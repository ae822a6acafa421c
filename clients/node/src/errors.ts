/**
 * What a call throws when it has no answer. No error holds a token or a bearer
 * secret. A denial is an answer and never an error.
 */

/** What became of one attempt of a call that had no answer. */
export interface Attempt {
  /** The replica, such as `10.0.0.7:50051`, or a name that could not be looked up. */
  readonly address: string;
  /** The gRPC code's name, such as `UNAVAILABLE`. */
  readonly code: string;
  /** The text of the server, or of the connection. */
  readonly message: string;
}

/** Every error of this library is one of its three subclasses. */
export abstract class KeyServiceError extends Error {
  static {
    KeyServiceError.prototype.name = "KeyServiceError";
  }
}

/**
 * No replica could answer in time. Nothing is known about the token. Answer 503,
 * and do not send. After an admin call, the change may or may not have been made.
 */
export class UnavailableError extends KeyServiceError {
  /** What happened to each attempt, in their order. */
  readonly attempts: readonly Attempt[];

  constructor(what: string, attempts: readonly Attempt[]) {
    const shown = attempts.map(({ message, ...attempt }) => ({ ...attempt, message: tame(message) }));
    const times = new Map<string, number>();
    for (const { address, code, message } of shown) {
      const line = `${address} ${code} (${message})`;
      times.set(line, (times.get(line) ?? 0) + 1);
    }
    const list = [...times].map(([line, count]) => (count === 1 ? line : `${line}, ${count} times`));
    super([what, list.join("; ")].filter(Boolean).join(": "));
    this.attempts = shown;
  }

  static {
    UnavailableError.prototype.name = "UnavailableError";
  }
}

/**
 * The question was wrong. To ask again does not help. If the domain came from your
 * user and the code is `INVALID_ARGUMENT`, answer 400. Otherwise mend your program
 * or its rights.
 */
export class MisusedError extends KeyServiceError {
  /**
   * The server's code: `INVALID_ARGUMENT`, `UNAUTHENTICATED` or `PERMISSION_DENIED`.
   * Undefined if the options are wrong, or the client is closed.
   */
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(code === undefined ? message : `${code}: ${tame(message)}`);
    this.code = code;
  }

  static {
    MisusedError.prototype.name = "MisusedError";
  }
}

/** The service refused an admin call, such as one for a key that does not exist. */
export class RefusedError extends KeyServiceError {
  /** The gRPC code's name, such as `NOT_FOUND` or `FAILED_PRECONDITION`. */
  readonly code: string;
  /** The server's text. */
  readonly text: string;
  /** The reason in `google.rpc.ErrorInfo`, such as `KEY_REVOKED`, if there is one. */
  readonly reason: string | undefined;
  /**
   * The name in `google.rpc.ResourceInfo`, if there is one. With `ALREADY_EXISTS`
   * it is the id of the key that the first call with this `requestId` created.
   */
  readonly resourceName: string | undefined;

  constructor(code: string, text: string, reason?: string, resourceName?: string) {
    const shownReason = reason && tame(reason);
    const shownText = tame(text);
    super(`${shownReason === undefined ? code : `${code} (${shownReason})`}: ${shownText}`);
    this.code = code;
    this.text = shownText;
    this.reason = shownReason;
    this.resourceName = resourceName && tame(resourceName);
  }

  static {
    RefusedError.prototype.name = "RefusedError";
  }
}

const MAX_CHARACTERS = 500;

/**
 * Text of a server, or of a proxy before it, made fit for an error: one line of printable
 * characters, not endless, and without what looks like a token or a bearer secret.
 */
function tame(text: string): string {
  const line = text.replace(/[\p{C}\p{Z}]+/gu, " ").trim();
  const shown = line.replace(/(tsend_|tsop_)[0-9A-Za-z]+/g, "$1…");
  return [...shown].slice(0, MAX_CHARACTERS).join("");
}
