package io.tosend.keyservice;

import io.grpc.Status;

import java.util.Objects;
import java.util.Optional;

/**
 * The server refused an admin call, such as one for a key that does not exist. Nothing was changed
 * by the attempt that was refused.
 *
 * <p>{@link KeyServiceClient#authorize} never throws this.
 */
public final class RefusedException extends KeyServiceException {
    private static final long serialVersionUID = 1;

    private final Status.Code code;
    private final String description;
    private final String reason;
    private final String resourceName;

    RefusedException(Status.Code code, String description, String reason, String resourceName) {
        super(code + ": " + description + (reason == null ? "" : " (" + reason + ")"));
        this.code = Objects.requireNonNull(code);
        this.description = description;
        this.reason = reason;
        this.resourceName = resourceName;
    }

    /**
     * The kind of refusal.
     *
     * @return such as {@code NOT_FOUND}, {@code ALREADY_EXISTS} or {@code FAILED_PRECONDITION}
     */
    public Status.Code code() {
        return code;
    }

    /**
     * The server's words.
     *
     * @return a text for people
     */
    public String description() {
        return description;
    }

    /**
     * The reason for programs, from {@code google.rpc.ErrorInfo}.
     *
     * @return such as {@code KEY_REVOKED}; empty if the server gave none
     */
    public Optional<String> reason() {
        return Optional.ofNullable(reason);
    }

    /**
     * The name of the resource that the refusal is about, from {@code google.rpc.ResourceInfo}.
     *
     * @return the key's id after {@code ALREADY_EXISTS}; empty if the server gave none
     */
    public Optional<String> resourceName() {
        return Optional.ofNullable(resourceName);
    }
}
