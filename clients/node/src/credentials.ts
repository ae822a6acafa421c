/**
 * Who the client is, and whom it trusts: the files with certificates and the file
 * with the bearer secret. They are read again when they change. A file with an error
 * changes nothing. Nothing here shows what a file contains.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import * as tls from "node:tls";
import * as grpc from "@grpc/grpc-js";
import { MisusedError } from "./errors.js";

/** The files, as the client's options name them. */
export interface CredentialFiles {
  readonly plaintext: boolean;
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly secretFile: string | undefined;
}

/** What the files say now. */
export class Credentials {
  readonly #plaintext: boolean;
  readonly #channel: Files<grpc.ChannelCredentials>;
  readonly #secret: Files<string | undefined>;

  /** Throws `MisusedError` if a file cannot be used. */
  constructor({ plaintext, caFile, certFile, keyFile, secretFile }: CredentialFiles) {
    this.#plaintext = plaintext;
    this.#channel = new Files([caFile, certFile, keyFile], plaintext ? grpc.credentials.createInsecure : secureChannel);
    this.#secret = new Files([secretFile], bearerSecret);
  }

  /** What a new connection is made with. */
  get channel(): grpc.ChannelCredentials {
    return this.#channel.value;
  }

  /** Whether a secret could be read on its way, so that calls must not leave this machine. */
  get isSecretInPlainText(): boolean {
    return this.#plaintext && this.#secret.value !== undefined;
  }

  /** The headers of a call. */
  get metadata(): grpc.Metadata {
    const metadata = new grpc.Metadata();
    if (this.#secret.value !== undefined) {
      metadata.set("authorization", `Bearer ${this.#secret.value}`);
    }
    return metadata;
  }

  /** Reads the files again. Says whether new connections are to be made. */
  async refresh(): Promise<boolean> {
    const [channelChanged] = await Promise.all([this.#channel.refresh(), this.#secret.refresh()]);
    return channelChanged;
  }
}

/** A value made of the contents of some files, of which each may be absent. */
class Files<T> {
  value: T;
  readonly #paths: readonly (string | undefined)[];
  readonly #parse: (...contents: (Buffer | undefined)[]) => T;
  #contents: (Buffer | undefined)[];
  #complaint: string | undefined;

  constructor(paths: readonly (string | undefined)[], parse: (...contents: (Buffer | undefined)[]) => T) {
    this.#paths = paths;
    this.#parse = parse;
    try {
      this.#contents = paths.map((path) => (path === undefined ? undefined : readFileSync(path)));
      this.value = parse(...this.#contents);
    } catch (error) {
      throw new MisusedError(this.#explain(error));
    }
  }

  /** Says whether the value has changed. Files with an error are reported once, as a warning. */
  async refresh(): Promise<boolean> {
    try {
      const contents = await Promise.all(this.#paths.map((path) => (path === undefined ? undefined : readFile(path))));
      if (contents.every((content, i) => content === undefined || content.equals(this.#contents[i] ?? Buffer.of()))) {
        this.#complaint = undefined;
        return false;
      }
      this.value = this.#parse(...contents);
      this.#contents = contents;
      this.#complaint = undefined;
      return true;
    } catch (error) {
      const complaint = this.#explain(error);
      if (complaint !== this.#complaint) {
        this.#complaint = complaint;
        process.emitWarning(`${complaint}. The previous contents stay in use.`, "KeyServiceWarning");
      }
      return false;
    }
  }

  /** The errors of the file system and of OpenSSL name files and faults, never contents. */
  #explain(error: unknown): string {
    const paths = this.#paths.filter((path) => path !== undefined).join(", ");
    return `${paths}: ${error instanceof Error ? error.message : "cannot be used"}`;
  }
}

function secureChannel(ca?: Buffer, cert?: Buffer, key?: Buffer): grpc.ChannelCredentials {
  if (ca !== undefined) {
    checkCertificates(ca);
  }
  // Fails if the key does not belong to the certificate.
  return grpc.credentials.createSsl(ca ?? systemAuthorities(), key ?? null, cert ?? null);
}

/** Fails unless all is whole: Node ignores what it cannot read of an authorities' file. */
function checkCertificates(pem: Buffer): void {
  const text = pem.toString("latin1");
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length === 0 || certificates.length !== text.split("-----BEGIN").length - 1) {
    throw new Error("the authorities' file must contain whole certificates in PEM, and nothing else in PEM");
  }
  for (const certificate of certificates) {
    new X509Certificate(certificate);
  }
}

/** Node's own list of authorities is not the system's. Null: the system has none, so Node's list counts. */
function systemAuthorities(): Buffer | null {
  const getCACertificates = (tls as { getCACertificates?: (type: "system") => string[] }).getCACertificates;
  if (getCACertificates !== undefined) {
    const authorities = getCACertificates("system");
    return authorities.length === 0 ? null : Buffer.from(authorities.join("\n"));
  }
  // Node 20 cannot say. These are the places in Debian, in Red Hat and SUSE, and in Alpine and macOS.
  const places = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
  for (const place of [process.env.SSL_CERT_FILE, ...places]) {
    try {
      if (place !== undefined) {
        return readFileSync(place);
      }
    } catch {
      // The next one.
    }
  }
  return null;
}

function bearerSecret(content?: Buffer): string | undefined {
  const secret = content?.toString("latin1").trim();
  // Nothing else can be sent. gRPC would say so too, and show the secret.
  if (secret !== undefined && !/^[\x21-\x7e]+$/.test(secret)) {
    throw new Error("the secret's file must contain one line of visible ASCII characters without spaces");
  }
  return secret;
}
