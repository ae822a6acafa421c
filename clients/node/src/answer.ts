/** The answer to the question whether a token may send for a domain. */
import {
  type AuthorizeResponse,
  Denial_Reason,
  type Scope as ScopeMessage,
} from "./gen/tosend/keys/v1/key_service_pb.js";

/** The token may send for the domain. */
export interface Grant {
  /** The key that the token belongs to. */
  readonly keyId: string;
  /** The account that owns the key. */
  readonly accountId: string;
  /** The domains that the key may be used for. */
  readonly scope: Scope;
}

/**
 * Which domains a key may be used for: one, or every verified domain of its account.
 */
export type Scope = { readonly kind: "domain"; readonly domain: string } | { readonly kind: "allDomains" };

/** The token may not send for the domain. */
export interface Denial {
  /** Why. */
  readonly reason: DenialReason;
  /** What to answer over HTTP: 401 if another token is needed, and otherwise 403. */
  readonly httpStatus: 401 | 403;
  /** The key that the token belongs to, if there is one and you may know it. */
  readonly keyId: string | undefined;
  /** The account that owns the key, if `keyId` is known. */
  readonly accountId: string | undefined;
}

/** Why a token is denied. A reason that only a newer server knows is its number, such as `"9"`. */
export type DenialReason =
  | "MALFORMED_TOKEN"
  | "UNKNOWN_TOKEN"
  | "REVOKED"
  | "EXPIRED"
  | "SUSPENDED"
  | "DOMAIN_NOT_ALLOWED"
  | "DOMAIN_NOT_VERIFIED"
  | (string & {});

/** What to do with each of the two answers. Exactly one of them is called, once. */
export interface Handlers<Allowed, Denied> {
  /** Called only if the token may send for the domain. */
  allowed(grant: Grant): Allowed;
  /** Called only if it may not. */
  denied(denial: Denial): Denied;
}

const ABOUT_THE_TOKEN: ReadonlySet<string> = new Set(["MALFORMED_TOKEN", "UNKNOWN_TOKEN", "REVOKED", "EXPIRED"]);

/** The decision in a response. */
export type Decision = { readonly grant: Grant } | { readonly denial: Denial };

/**
 * Reads the decision. It is a grant only if both `granted` and `decision` say so, for a
 * scope that this library knows.
 * Undefined: the response has no decision that this library understands.
 */
export function decisionOf({ granted, decision }: AuthorizeResponse): Decision | undefined {
  if (decision.case === "grant" && granted) {
    const { keyId, accountId } = decision.value;
    const scope = scopeOf(decision.value.scope);
    return scope && { grant: Object.freeze({ keyId, accountId, scope }) };
  }
  if (decision.case === "denial" && !granted) {
    const { keyId, accountId } = decision.value;
    const reason = Denial_Reason[decision.value.reason] ?? String(decision.value.reason);
    return {
      denial: Object.freeze({
        reason,
        httpStatus: ABOUT_THE_TOKEN.has(reason) ? 401 : 403,
        keyId: keyId || undefined,
        accountId: accountId || undefined,
      }),
    };
  }
  return undefined;
}

function scopeOf(scope: ScopeMessage | undefined): Scope | undefined {
  switch (scope?.kind.case) {
    case "domain":
      return scope.kind.value === "" ? undefined : Object.freeze({ kind: "domain", domain: scope.kind.value });
    case "allDomains":
      return Object.freeze({ kind: "allDomains" });
    default:
      return undefined;
  }
}
