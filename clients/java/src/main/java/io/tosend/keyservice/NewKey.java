package io.tosend.keyservice;

import io.tosend.keys.v1.Key;

import java.util.Optional;

/**
 * A key that was just created, and its token. It prints without the token.
 *
 * @param token the token, {@code tsend_…}. It is here and nowhere else: give it to its user and do
 *     not keep it.
 * @param key the key's record
 * @param predecessor after a rotation, the key that this one replaces
 */
public record NewKey(String token, Key key, Optional<Key> predecessor) {
    /** Shows which key this is, and not its token. */
    @Override
    public String toString() {
        return "NewKey[keyId=" + key.getKeyId() + "]";
    }
}
