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
  /** Why. Answer 401 for the first four, and 403 for every other. */
  readonly reason: DenialReason;
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
    const { reason, keyId, accountId } = decision.value;
    return {
      denial: Object.freeze({
        reason: Denial_Reason[reason] ?? String(reason),
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
