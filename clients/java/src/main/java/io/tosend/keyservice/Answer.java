package io.tosend.keyservice;

import com.google.protobuf.InvalidProtocolBufferException;

import io.tosend.keys.v1.AuthorizeRequest;
import io.tosend.keys.v1.AuthorizeResponse;
import io.tosend.keys.v1.Denial;
import io.tosend.keys.v1.Grant;
import io.tosend.keys.v1.Scope;

import java.util.Objects;
import java.util.Optional;

/** Reads the server's answers to Authorize. */
final class Answer {
    private Answer() {}

    /**
     * Reads a response. What contradicts itself, or says something that this library does not know,
     * never allows.
     *
     * @return empty if the response is neither a grant nor a denial
     */
    static Optional<Decision> read(AuthorizeResponse response) {
        return switch (response.getDecisionCase()) {
            case GRANT -> response.getGranted() ? allowed(response.getGrant()) : Optional.empty();
            case DENIAL ->
                    response.getGranted()
                            ? Optional.empty()
                            : Optional.of(denied(response.getDenial()));
            case DECISION_NOT_SET -> Optional.empty();
        };
    }

    /** Loads the code of questions and answers, which in a new process takes a while. */
    static void warmUp() {
        var question = AuthorizeRequest.newBuilder().setToken("").setDomain("").build();
        var answer =
                AuthorizeResponse.newBuilder()
                        .setGrant(Grant.newBuilder().setScope(Scope.newBuilder().setDomain("a")))
                        .setGranted(true)
                        .build();
        try {
            Objects.requireNonNull(AuthorizeRequest.parseFrom(question.toByteArray()));
            Objects.requireNonNull(read(AuthorizeResponse.parseFrom(answer.toByteArray())));
        } catch (InvalidProtocolBufferException e) {
            throw new AssertionError("a message that was just written can be read", e);
        }
    }

    private static Optional<Decision> allowed(Grant grant) {
        Scope scope = grant.getScope();
        return switch (scope.getKindCase()) {
            case ALL_DOMAINS ->
                    Optional.of(
                            new Decision.Allowed(
                                    grant.getKeyId(), grant.getAccountId(), Optional.empty()));
            case DOMAIN ->
                    nonEmpty(scope.getDomain())
                            .map(
                                    domain ->
                                            new Decision.Allowed(
                                                    grant.getKeyId(),
                                                    grant.getAccountId(),
                                                    Optional.of(domain)));
            case KIND_NOT_SET -> Optional.empty();
        };
    }

    private static Decision.Denied denied(Denial denial) {
        Decision.Reason reason =
                switch (denial.getReason()) {
                    case REASON_MALFORMED_TOKEN -> Decision.Reason.MALFORMED_TOKEN;
                    case REASON_UNKNOWN_TOKEN -> Decision.Reason.UNKNOWN_TOKEN;
                    case REASON_REVOKED -> Decision.Reason.REVOKED;
                    case REASON_EXPIRED -> Decision.Reason.EXPIRED;
                    case REASON_SUSPENDED -> Decision.Reason.SUSPENDED;
                    case REASON_DOMAIN_NOT_ALLOWED -> Decision.Reason.DOMAIN_NOT_ALLOWED;
                    case REASON_DOMAIN_NOT_VERIFIED -> Decision.Reason.DOMAIN_NOT_VERIFIED;
                    case REASON_UNSPECIFIED, UNRECOGNIZED -> Decision.Reason.OTHER;
                };
        String text =
                reason == Decision.Reason.OTHER
                        ? Integer.toString(denial.getReasonValue())
                        : reason.name();
        return new Decision.Denied(
                reason, text, nonEmpty(denial.getKeyId()), nonEmpty(denial.getAccountId()));
    }

    private static Optional<String> nonEmpty(String text) {
        return text.isEmpty() ? Optional.empty() : Optional.of(text);
    }
}
