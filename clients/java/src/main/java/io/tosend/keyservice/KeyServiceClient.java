package io.tosend.keyservice;

import com.google.errorprone.annotations.CheckReturnValue;

import io.grpc.MethodDescriptor;
import io.tosend.keys.v1.AuthorizeRequest;
import io.tosend.keys.v1.KeyServiceGrpc;

import java.lang.System.Logger.Level;
import java.security.Security;
import java.time.Duration;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BiConsumer;
import java.util.function.Function;

/**
 * Asks KeyService whether a token may send for a domain.
 *
 * <pre>{@code
 * try (var client = KeyServiceClient.builder().addresses("keys.example.org:50051").open()) {
 *     client.waitUntilReady(Duration.ofSeconds(30));
 *     Decision decision = client.authorize(token, "mail.example.com");
 *     if (decision instanceof Decision.Allowed allowed) {
 *         // Send, and log allowed.keyId().
 *     } else if (decision instanceof Decision.Denied denied) {
 *         // Do not send. Answer denied.httpStatus().
 *     }
 * }
 * }</pre>
 *
 * <p>Open one client for the whole program. It is safe for use by many threads. No answer is kept:
 * each call asks again, so a key loses access as soon as its Revoke returns.
 *
 * <p>An interruption of the thread ends a call at once.
 */
@CheckReturnValue
public final class KeyServiceClient implements AutoCloseable {
    /**
     * More than any token or domain has, and few enough for the server's limit on a message. A
     * longer token is none, and is none when it is cut. A longer domain must not be cut: what is
     * left of it may be another domain.
     */
    private static final int LONGEST_TEXT = 1000;

    static final String VERSION = "0.1.0";

    private static final System.Logger LOG = System.getLogger(KeyServiceClient.class.getName());

    private final Credentials credentials;
    private final Pool pool;
    private final Metrics metrics;
    private final Call.Terms authorizeTerms;
    private final Call.Terms adminTerms;
    private final Set<CompletableFuture<?>> inFlight = ConcurrentHashMap.newKeySet();
    private volatile boolean closed;

    KeyServiceClient(KeyServiceClientBuilder options) {
        credentials = new Credentials(options);
        authorizeTerms =
                new Call.Terms(
                        options.deadline, options.maxAttempts, options.attemptTimeout, false);
        adminTerms =
                new Call.Terms(
                        options.adminDeadline, options.maxAttempts, options.attemptTimeout, true);
        pool = new Pool(options.addresses, options.serverName, credentials);
        metrics = new Metrics(options.openTelemetry, pool::readyCount, pool::notReadyCount);
        Answer.warmUp(); // while the pool connects, and not within the deadline of the first call
        if (options.addresses.stream().anyMatch(Address::isName)) {
            warnOfAddressCache();
        }
    }

    /**
     * Begins with the options.
     *
     * @return a builder without any address
     */
    public static KeyServiceClientBuilder builder() {
        return new KeyServiceClientBuilder();
    }

    /**
     * Asks whether a token may send for a domain now, within the client's deadline.
     *
     * @param token the token as the sender presented it, {@code tsend_…}
     * @param domain the sending domain
     * @return allowed or denied, and nothing else
     * @throws UnavailableException if no replica could answer in time
     * @throws MisusedException if {@code domain} is not a domain name, or this program may not ask
     * @throws InterruptedException if the thread was interrupted
     * @throws IllegalStateException if the client is closed
     */
    public Decision authorize(String token, String domain) throws InterruptedException {
        return await(authorizeAsync(token, domain), authorizeTerms.deadline());
    }

    /**
     * As {@link #authorize(String, String)}, with a deadline of its own.
     *
     * @param token the token as the sender presented it, {@code tsend_…}
     * @param domain the sending domain
     * @param deadline how long the call may take, with all its attempts; more than 0
     * @return allowed or denied, and nothing else
     * @throws UnavailableException if no replica could answer in time
     * @throws MisusedException if {@code domain} is not a domain name, or this program may not ask
     * @throws InterruptedException if the thread was interrupted
     * @throws IllegalStateException if the client is closed
     */
    public Decision authorize(String token, String domain, Duration deadline)
            throws InterruptedException {
        return await(authorizeAsync(token, domain, deadline), deadline);
    }

    /**
     * As {@link #authorize(String, String)}, without waiting.
     *
     * @param token the token as the sender presented it, {@code tsend_…}
     * @param domain the sending domain
     * @return what {@code authorize} returns or throws. To cancel this future ends the call at
     *     once; to cancel one that was derived from it does not.
     * @throws IllegalStateException if the client is closed
     */
    public CompletableFuture<Decision> authorizeAsync(String token, String domain) {
        return authorize(token, domain, authorizeTerms);
    }

    /**
     * As {@link #authorizeAsync(String, String)}, with a deadline of its own.
     *
     * @param token the token as the sender presented it, {@code tsend_…}
     * @param domain the sending domain
     * @param deadline how long the call may take, with all its attempts; more than 0
     * @return what {@code authorize} returns or throws. To cancel this future ends the call at
     *     once; to cancel one that was derived from it does not.
     * @throws IllegalStateException if the client is closed
     */
    public CompletableFuture<Decision> authorizeAsync(
            String token, String domain, Duration deadline) {
        KeyServiceClientBuilder.checked("deadline", deadline);
        return authorize(token, domain, authorizeTerms.within(deadline));
    }

    /**
     * The calls for keys, domains and accounts, each within the client's admin deadline.
     *
     * @return a view of this client
     */
    public Admin admin() {
        return new Admin(this, adminTerms);
    }

    /**
     * The calls for keys, domains and accounts, with a deadline of their own.
     *
     * @param deadline how long each call may take, with all its attempts; more than 0
     * @return a view of this client
     */
    public Admin admin(Duration deadline) {
        KeyServiceClientBuilder.checked("deadline", deadline);
        return new Admin(this, adminTerms.within(deadline));
    }

    /**
     * Waits until at least one replica is ready. Let your own readiness depend on it.
     *
     * @param timeout how long to wait at most; with 0, this only asks
     * @return whether one is ready
     * @throws InterruptedException if the thread was interrupted
     */
    public boolean waitUntilReady(Duration timeout) throws InterruptedException {
        return pool.waitUntilReady(timeout);
    }

    /**
     * Lets the calls in flight finish, and ends the connections. An interruption of the thread ends
     * these calls.
     */
    @Override
    public void close() {
        closed = true;
        CompletableFuture<?>[] calls = inFlight.toArray(new CompletableFuture<?>[0]);
        try {
            CompletableFuture.allOf(calls).get();
        } catch (ExecutionException e) {
            // A call has failed, and its caller knows.
        } catch (InterruptedException e) {
            for (CompletableFuture<?> call : calls) {
                call.cancel(true);
            }
            Thread.currentThread().interrupt();
        }
        metrics.close();
        pool.close();
    }

    @Override
    public String toString() {
        return "KeyServiceClient[" + pool + "]";
    }

    private CompletableFuture<Decision> authorize(String token, String domain, Call.Terms terms) {
        Objects.requireNonNull(token, "token");
        Objects.requireNonNull(domain, "domain");
        if (domain.length() > LONGEST_TEXT) {
            var error = new MisusedException("the domain is too long; it may have 253 characters");
            metrics.recordAuthorize(0, null, error);
            return CompletableFuture.failedFuture(error);
        }
        AuthorizeRequest request =
                AuthorizeRequest.newBuilder()
                        .setToken(token.substring(0, Math.min(token.length(), LONGEST_TEXT)))
                        .setDomain(domain)
                        .build();
        long start = System.nanoTime();
        return call(
                KeyServiceGrpc.getAuthorizeMethod(),
                request,
                Answer::read,
                (decision, error) ->
                        metrics.recordAuthorize(System.nanoTime() - start, decision, error),
                terms);
    }

    /** Begins a call, which {@link #close} will wait for. */
    <Q, A, R> CompletableFuture<R> call(
            MethodDescriptor<Q, A> method,
            Q request,
            Function<A, Optional<R>> meaning,
            BiConsumer<R, Throwable> observer,
            Call.Terms terms) {
        Call<Q, A, R> call =
                new Call<>(pool, credentials, metrics, method, request, meaning, observer, terms);
        CompletableFuture<R> result = call.result();
        inFlight.add(result);
        var unused = result.whenComplete((answer, error) -> inFlight.remove(result));
        if (closed) { // looked at only now, so that close waits for every call that begins
            inFlight.remove(result);
            throw new IllegalStateException("the client is closed");
        }
        call.start();
        return result;
    }

    /** Waits for the end of a call, but not for longer than it may take. */
    static <R> R await(CompletableFuture<R> result, Duration deadline) throws InterruptedException {
        try {
            return result.get(
                    deadline.plus(Call.GRACE).plus(Call.GRACE).toNanos(), TimeUnit.NANOSECONDS);
        } catch (TimeoutException e) {
            result.cancel(true);
            throw new UnavailableException(
                    "no answer within " + deadline.toMillis() + " ms, as the program is busy");
        } catch (InterruptedException e) {
            result.cancel(true);
            throw e;
        } catch (ExecutionException e) {
            // The trace of this thread says more than that of gRPC's.
            if (e.getCause() instanceof KeyServiceException cause) {
                cause.fillInStackTrace();
                throw cause;
            }
            throw new IllegalStateException(e.getCause());
        }
    }

    private static void warnOfAddressCache() {
        String ttl = Security.getProperty("networkaddress.cache.ttl");
        if (ttl == null) {
            ttl = System.getProperty("sun.net.inetaddr.ttl", "30");
        }
        if (!ttl.matches("[0-5]")) {
            LOG.log(
                    Level.WARNING,
                    "this Java runtime keeps the addresses of a name for {0} s (-1: for ever), so"
                            + " new replicas are found late: set networkaddress.cache.ttl to 5",
                    ttl);
        }
    }
}
