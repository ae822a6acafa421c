/** The options of a client and of a call, and what they must not be. */
import { isIP } from "node:net";
import type { CredentialFiles } from "./credentials.js";
import { MisusedError } from "./errors.js";
import type { Endpoint } from "./pool.js";

/** How a client finds the service, and who it is. */
export interface ClientOptions {
  /**
   * Where the service is: each `host:port`, such as `keys.example.org:50051`,
   * `10.0.0.7:50051` or `[2001:db8::7]:50051`. Every address of a name is a replica.
   */
  readonly addresses: readonly string[];
  /**
   * Whether to connect without TLS. Anybody on the way can then read the tokens.
   * A bearer secret goes without TLS only to loopback addresses.
   */
  readonly plaintext?: boolean;
  /** A file with the authorities' certificates in PEM. Absent: the system's authorities. */
  readonly caFile?: string;
  /** A file with the client's certificate, and those between it and its authority, in PEM. */
  readonly certFile?: string;
  /** A file with the key of the client's certificate, in PEM. */
  readonly keyFile?: string;
  /** A file with a bearer secret (`tsop_…`) on one line. */
  readonly secretFile?: string;
  /** The name that the servers' certificates must have. Absent: the host of the address. */
  readonly serverName?: string;
  /** How long `authorize` may take. 1000 by default. */
  readonly deadlineMillis?: number;
  /** How long one attempt of `authorize` may take, which is at most half of the call's deadline. 200 by default. */
  readonly attemptMillis?: number;
  /** How often a call asks at most. 4 by default. */
  readonly maxAttempts?: number;
  /** How long an admin call may take. 10000 by default. */
  readonly adminDeadlineMillis?: number;
}

/** What may be different for one call. */
export interface CallOptions {
  /** How long the call may take, in the place of the client's deadline for such calls. */
  readonly deadlineMillis?: number;
  /** Ends the call when it aborts. The call then throws the signal's reason, usually an `AbortError`. */
  readonly signal?: AbortSignal;
}

/** Checked options, with the defaults in them. */
export interface Settings {
  readonly endpoints: readonly Endpoint[];
  readonly files: CredentialFiles;
  readonly serverName: string | undefined;
  readonly deadlineMillis: number;
  readonly attemptMillis: number;
  readonly maxAttempts: number;
  readonly adminDeadlineMillis: number;
}

const KNOWN_OPTIONS = {
  addresses: true,
  plaintext: true,
  caFile: true,
  certFile: true,
  keyFile: true,
  secretFile: true,
  serverName: true,
  deadlineMillis: true,
  attemptMillis: true,
  maxAttempts: true,
  adminDeadlineMillis: true,
} satisfies Record<keyof ClientOptions, true>;

/** The longest time that Node's timers can wait, about 24 days. */
const MAX_MILLIS = 2 ** 31 - 1;

/** Throws `MisusedError` if the options cannot be meant so. */
export function settingsOf(options: ClientOptions): Settings {
  for (const name of Object.keys(options)) {
    if (!(name in KNOWN_OPTIONS)) {
      throw new MisusedError(`there is no option of the name ${JSON.stringify(name)}`);
    }
  }
  const { addresses, plaintext = false, caFile, certFile, keyFile, secretFile, serverName } = options;
  if (!Array.isArray(addresses) || addresses.length === 0) {
    throw new MisusedError("addresses must be a list of at least one host:port");
  }
  if (typeof plaintext !== "boolean") {
    throw new MisusedError("plaintext must be true or false");
  }
  for (const [name, value] of Object.entries({ caFile, certFile, keyFile, secretFile, serverName })) {
    if (value !== undefined && (typeof value !== "string" || value === "")) {
      throw new MisusedError(`${name} must be a text that is not empty`);
    }
  }
  const endpoints = addresses.map(endpointOf);
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new MisusedError("certFile and keyFile belong together: give both or none");
  }
  if (plaintext && (caFile ?? certFile ?? serverName) !== undefined) {
    throw new MisusedError("caFile, certFile, keyFile and serverName mean nothing with plaintext");
  }
  if (plaintext && secretFile !== undefined && !endpoints.every(isLoopback)) {
    throw new MisusedError("a bearer secret goes without TLS only to loopback addresses: leave out plaintext");
  }
  const { maxAttempts = 4 } = options;
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1) {
    throw new MisusedError("maxAttempts must be a whole number from 1 on");
  }
  return {
    endpoints,
    files: { plaintext, caFile, certFile, keyFile, secretFile },
    serverName,
    deadlineMillis: millis("deadlineMillis", options.deadlineMillis, 1_000),
    attemptMillis: millis("attemptMillis", options.attemptMillis, 200),
    maxAttempts,
    adminDeadlineMillis: millis("adminDeadlineMillis", options.adminDeadlineMillis, 10_000),
  };
}

/** Checks a time. Throws `MisusedError` for one that no timer can keep. */
export function millis(name: string, value: number | undefined, byDefault: number): number {
  const millis = value ?? byDefault;
  if (typeof millis !== "number" || !(millis > 0 && millis <= MAX_MILLIS)) {
    throw new MisusedError(`${name} must be a number of milliseconds above 0 and at most ${MAX_MILLIS}`);
  }
  return millis;
}

function endpointOf(address: unknown): Endpoint {
  const [, ipv6, name, digits] = /^(?:\[([^\]]*)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(String(address)) ?? [];
  const host = ipv6 ?? name;
  const port = Number(digits);
  if (host === undefined || (ipv6 !== undefined && isIP(ipv6) !== 6) || !(port >= 1 && port <= 65_535)) {
    throw new MisusedError(`${JSON.stringify(address)} is not an address of the form host:port`);
  }
  return { host, port };
}

function isLoopback({ host }: Endpoint): boolean {
  return host === "localhost" || isLoopbackIp(host);
}

/** Whether what is sent to this IP address does not leave this machine. */
export function isLoopbackIp(host: string): boolean {
  const ip = host.replace(/^::ffff:(?=\d+\.)/i, "");
  return ip === "::1" || (isIP(ip) === 4 && ip.startsWith("127."));
}
