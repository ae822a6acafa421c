package io.tosend.keyservice;

/**
 * No replica could answer in time. Nothing is known about the token: answer 503, and do not send.
 *
 * <p>After an admin call, the change may or may not have been made.
 *
 * <p>The message says on one line what happened to each attempt.
 */
public final class UnavailableException extends KeyServiceException {
    private static final long serialVersionUID = 1;

    UnavailableException(String message) {
        super(message);
    }
}
