package io.tosend.keyservice;

/**
 * A call that has no answer: {@link UnavailableException}, {@link MisusedException} or {@link
 * RefusedException}. After any of them, do not send. The message never contains a token or a
 * secret.
 */
public abstract sealed class KeyServiceException extends RuntimeException
        permits UnavailableException, MisusedException, RefusedException {
    private static final long serialVersionUID = 1;

    KeyServiceException(String message) {
        super(message);
    }
}
