package io.tosend.keyservice;

import io.grpc.MethodDescriptor;
import io.tosend.keys.v1.AccountServiceGrpc;
import io.tosend.keys.v1.AddDomainRequest;
import io.tosend.keys.v1.AddDomainResponse;
import io.tosend.keys.v1.BatchRevokeRequest;
import io.tosend.keys.v1.BatchRevokeResponse;
import io.tosend.keys.v1.CreateRequest;
import io.tosend.keys.v1.DomainServiceGrpc;
import io.tosend.keys.v1.GetAccountRequest;
import io.tosend.keys.v1.GetAccountResponse;
import io.tosend.keys.v1.GetRequest;
import io.tosend.keys.v1.GetResponse;
import io.tosend.keys.v1.KeyServiceGrpc;
import io.tosend.keys.v1.ListDomainsRequest;
import io.tosend.keys.v1.ListDomainsResponse;
import io.tosend.keys.v1.ListRequest;
import io.tosend.keys.v1.ListResponse;
import io.tosend.keys.v1.RemoveDomainRequest;
import io.tosend.keys.v1.RemoveDomainResponse;
import io.tosend.keys.v1.ResumeAccountRequest;
import io.tosend.keys.v1.ResumeAccountResponse;
import io.tosend.keys.v1.ResumeRequest;
import io.tosend.keys.v1.ResumeResponse;
import io.tosend.keys.v1.RevokeRequest;
import io.tosend.keys.v1.RevokeResponse;
import io.tosend.keys.v1.RotateRequest;
import io.tosend.keys.v1.SuspendAccountRequest;
import io.tosend.keys.v1.SuspendAccountResponse;
import io.tosend.keys.v1.SuspendRequest;
import io.tosend.keys.v1.SuspendResponse;
import io.tosend.keys.v1.UpdateRequest;
import io.tosend.keys.v1.UpdateResponse;

import java.util.Optional;
import java.util.UUID;
import java.util.function.Function;

/**
 * The calls that need the role {@code admin}: for keys, domains and accounts. They take and return
 * the generated messages, and a {@link NewKey} where there is a token. A request that names a key
 * by its token prints the token: do not log it.
 *
 * <p>A call is tried again within its deadline until it succeeds or the server refuses it. When it
 * returns, every replica decides by it. Each throws these:
 *
 * <ul>
 *   <li>{@link UnavailableException} if no replica could answer in time. The change may or may not
 *       have been made: call again.
 *   <li>{@link MisusedException} if the request is wrong, or this program may not make it.
 *   <li>{@link RefusedException} if the server refused it for another reason, such as a key that
 *       does not exist.
 *   <li>{@link InterruptedException} if the thread was interrupted. The change may or may not have
 *       been made.
 * </ul>
 */
public final class Admin {
    private final KeyServiceClient client;
    private final Call.Terms terms;

    Admin(KeyServiceClient client, Call.Terms terms) {
        this.client = client;
        this.terms = terms;
    }

    /**
     * Creates a key. The answer has its token, once: give it to its user and do not keep it.
     *
     * <p>Without a {@code request_id}, the library makes one, so that no retry creates a second
     * key. If the answer to the first attempt was lost, this throws a {@link RefusedException} with
     * {@code ALREADY_EXISTS} and the key's id as {@link RefusedException#resourceName}: its token
     * cannot be shown any more, so revoke it and create another.
     */
    public NewKey create(CreateRequest request) throws InterruptedException {
        CreateRequest withRequestId =
                request.hasRequestId()
                        ? request
                        : request.toBuilder().setRequestId(newRequestId()).build();
        return call(
                KeyServiceGrpc.getCreateMethod(),
                withRequestId,
                created -> new NewKey(created.getToken(), created.getKey(), Optional.empty()));
    }

    /**
     * Lists an account's keys, newest first.
     *
     * <p>The list ends only where {@code next_page_token} is empty: a page may be short, or empty.
     */
    public ListResponse list(ListRequest request) throws InterruptedException {
        return call(KeyServiceGrpc.getListMethod(), request);
    }

    /** Gives one key, by its id or its token. */
    public GetResponse get(GetRequest request) throws InterruptedException {
        return call(KeyServiceGrpc.getGetMethod(), request);
    }

    /**
     * Changes what {@code update_mask} names of a key.
     *
     * <p>With an etag, the refusal {@code ETAG_MISMATCH} may be about your own change: if the
     * answer to the first attempt was lost, the second one finds the key changed. Get the key to
     * see.
     */
    public UpdateResponse update(UpdateRequest request) throws InterruptedException {
        return call(KeyServiceGrpc.getUpdateMethod(), request);
    }

    /**
     * Replaces a key by a successor with a new token. The answer has the token, once.
     *
     * <p>Without a {@code request_id}, the library makes one, as in {@link #create}. After {@code
     * ALREADY_EXISTS}, rotate the successor, with an overlap of 0.
     */
    public NewKey rotate(RotateRequest request) throws InterruptedException {
        RotateRequest withRequestId =
                request.hasRequestId()
                        ? request
                        : request.toBuilder().setRequestId(newRequestId()).build();
        return call(
                KeyServiceGrpc.getRotateMethod(),
                withRequestId,
                rotated ->
                        new NewKey(
                                rotated.getToken(),
                                rotated.getKey(),
                                Optional.of(rotated.getPredecessor())));
    }

    /** Suspends a key until it is resumed. */
    public SuspendResponse suspend(SuspendRequest request) throws InterruptedException {
        return call(KeyServiceGrpc.getSuspendMethod(), request);
    }

    /** Ends a key's suspension. */
    public ResumeResponse resume(ResumeRequest request) throws InterruptedException {
        return call(KeyServiceGrpc.getResumeMethod(), request);
    }

    /**
     * Revokes a key for good, by its id or its token. When this returns, no replica allows it any
     * more.
     */
    public RevokeResponse revoke(RevokeRequest request) throws InterruptedException {
        return call(KeyServiceGrpc.getRevokeMethod(), request);
    }

    /**
     * Revokes many keys: given ones, or those of an account that a filter selects.
     *
     * <p>If the answer to the first attempt was lost, what that one has revoked counts as revoked
     * before.
     */
    public BatchRevokeResponse batchRevoke(BatchRevokeRequest request) throws InterruptedException {
        return call(KeyServiceGrpc.getBatchRevokeMethod(), request);
    }

    /** Says that a domain is verified for an account. */
    public AddDomainResponse addDomain(AddDomainRequest request) throws InterruptedException {
        return call(DomainServiceGrpc.getAddDomainMethod(), request);
    }

    /** Takes a domain from an account. */
    public RemoveDomainResponse removeDomain(RemoveDomainRequest request)
            throws InterruptedException {
        return call(DomainServiceGrpc.getRemoveDomainMethod(), request);
    }

    /** Lists an account's domains, in alphabetical order. */
    public ListDomainsResponse listDomains(ListDomainsRequest request) throws InterruptedException {
        return call(DomainServiceGrpc.getListDomainsMethod(), request);
    }

    /** Denies every key of an account until the account is resumed. */
    public SuspendAccountResponse suspendAccount(SuspendAccountRequest request)
            throws InterruptedException {
        return call(AccountServiceGrpc.getSuspendAccountMethod(), request);
    }

    /** Ends an account's suspension. */
    public ResumeAccountResponse resumeAccount(ResumeAccountRequest request)
            throws InterruptedException {
        return call(AccountServiceGrpc.getResumeAccountMethod(), request);
    }

    /** Says whether an account is suspended, and what it has. */
    public GetAccountResponse getAccount(GetAccountRequest request) throws InterruptedException {
        return call(AccountServiceGrpc.getGetAccountMethod(), request);
    }

    private <Q, A> A call(MethodDescriptor<Q, A> method, Q request) throws InterruptedException {
        return call(method, request, Function.identity());
    }

    private <Q, A, R> R call(MethodDescriptor<Q, A> method, Q request, Function<A, R> meaning)
            throws InterruptedException {
        return KeyServiceClient.await(
                client.call(
                        method,
                        request,
                        response -> Optional.of(meaning.apply(response)),
                        (result, error) -> {}, // measured by its attempts alone
                        terms),
                terms.deadline());
    }

    private static String newRequestId() {
        return UUID.randomUUID().toString();
    }
}
