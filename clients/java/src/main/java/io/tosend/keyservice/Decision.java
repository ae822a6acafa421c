package io.tosend.keyservice;

import java.util.Optional;

/**
 * The answer to the question whether a token may send for a domain: {@link Allowed} or {@link
 * Denied}, and nothing else. That there is no answer is an exception.
 */
public sealed interface Decision {
    /**
     * The token may send for the domain.
     *
     * @param keyId the id of the key that the token belongs to
     * @param accountId the account of the key
     * @param domain the only domain that the key may be used for; empty if it may be used for every
     *     verified domain of its account
     */
    record Allowed(String keyId, String accountId, Optional<String> domain) implements Decision {}

    /**
     * The token may not send for the domain.
     *
     * @param reason why
     * @param reasonText the reason's name, such as {@code REVOKED}; for {@link Reason#OTHER} its
     *     number
     * @param keyId the id of the key that the token belongs to; empty if there is no such key, or
     *     you may not know of it
     * @param accountId the account of the key; empty if {@code keyId} is
     */
    record Denied(
            Reason reason, String reasonText, Optional<String> keyId, Optional<String> accountId)
            implements Decision {
        /**
         * The status for an HTTP response.
         *
         * @return 401 if the token is no good for any domain, otherwise 403
         */
        public int httpStatus() {
            return switch (reason) {
                case MALFORMED_TOKEN, UNKNOWN_TOKEN, REVOKED, EXPIRED -> 401;
                case SUSPENDED, DOMAIN_NOT_ALLOWED, DOMAIN_NOT_VERIFIED, OTHER -> 403;
            };
        }
    }

    /** Why a token is denied. */
    enum Reason {
        /** The string is not a token. A typing error leads here. */
        MALFORMED_TOKEN,
        /** The token belongs to no key, or to one that you may not know of. */
        UNKNOWN_TOKEN,
        /** The key was revoked. */
        REVOKED,
        /** The key has expired. */
        EXPIRED,
        /** The key or its account is suspended. */
        SUSPENDED,
        /** The key is restricted to another domain. */
        DOMAIN_NOT_ALLOWED,
        /** The domain is not verified for the key's account. */
        DOMAIN_NOT_VERIFIED,
        /** A reason that this version of the library does not know. */
        OTHER
    }
}
