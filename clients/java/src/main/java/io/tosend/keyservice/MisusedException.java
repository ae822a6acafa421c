package io.tosend.keyservice;

import io.grpc.Status;

import java.util.Objects;

/**
 * The question was wrong, or this program may not ask it. To ask again does not help.
 *
 * <p>With {@code INVALID_ARGUMENT}, a field is wrong: if it came from your user, such as the
 * domain, answer 400. Otherwise mend your program, its configuration or its rights.
 */
public final class MisusedException extends KeyServiceException {
    private static final long serialVersionUID = 1;

    /** What is wrong. */
    private final Status.Code code;

    MisusedException(Status.Code code, String message) {
        super(message);
        this.code = Objects.requireNonNull(code);
    }

    /** An error of this program that was found before any server was asked. */
    MisusedException(String message) {
        this(Status.Code.INVALID_ARGUMENT, message);
    }

    /**
     * What is wrong.
     *
     * @return {@code INVALID_ARGUMENT}: a field of the question, or an option of the client; {@code
     *     UNAUTHENTICATED}: the server does not know this program; {@code PERMISSION_DENIED}: this
     *     program may not make this call
     */
    public Status.Code code() {
        return code;
    }
}
