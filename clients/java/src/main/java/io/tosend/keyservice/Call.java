package io.tosend.keyservice;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.ResourceInfo;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BiConsumer;
import java.util.function.BooleanSupplier;
import java.util.function.Function;

/**
 * One call: its attempts, one after the other, within its deadline.
 *
 * <p>It ends with an answer or one of the {@link KeyServiceException}s. When somebody else ends its
 * future, such as by cancelling it, the attempt in flight is cancelled and no other follows.
 *
 * @param <Q> the request
 * @param <A> the response
 * @param <R> what the response means
 */
final class Call<Q, A, R> {
    /**
     * What a call is, and how long it may take.
     *
     * @param isAdmin whether the server may refuse it for a reason of its own, and an attempt may
     *     take half of what is left
     */
    record Terms(Duration deadline, int maxAttempts, Duration attemptTimeout, boolean isAdmin) {
        Terms within(Duration otherDeadline) {
            return new Terms(otherDeadline, maxAttempts, attemptTimeout, isAdmin);
        }

        /**
         * A replica that does not answer within this time hangs. It is at most half of the
         * deadline, so that there is time to ask another.
         */
        long nanosOfWholeAttempt() {
            return Math.min(attemptTimeout.toNanos(), deadline.toNanos() / 2);
        }

        long nanosForAttempt(long nanosLeft) {
            return isAdmin ? nanosLeft / 2 : Math.min(nanosLeft, nanosOfWholeAttempt());
        }
    }

    /** The first pause before a replica is asked again. The next two are twice as long each. */
    private static final Duration PAUSE = Duration.ofMillis(25);

    // A replica that does not answer in less is not taken for one that hangs: any may be as busy
    // for a moment.
    private static final long TELLING_NANOS = Duration.ofMillis(30).toNanos();

    private static final int MOST_DOUBLINGS = 2;

    /**
     * A call ends by itself at its deadline, and says what happened to its attempts. If threads are
     * held up, it ends so much later without.
     */
    static final Duration GRACE = Duration.ofMillis(20);

    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

    private static final String GIVEN_UP = "its caller has given it up";

    private static final Set<Status.Code> MISUSED =
            EnumSet.of(
                    Status.Code.INVALID_ARGUMENT,
                    Status.Code.UNAUTHENTICATED,
                    Status.Code.PERMISSION_DENIED);

    /** After these, an admin call is tried again. Authorize is, after all that are not misuse. */
    private static final Set<Status.Code> TRIED_AGAIN =
            EnumSet.of(
                    Status.Code.UNAVAILABLE,
                    Status.Code.DEADLINE_EXCEEDED,
                    Status.Code.INTERNAL,
                    Status.Code.UNKNOWN,
                    Status.Code.CANCELLED,
                    Status.Code.RESOURCE_EXHAUSTED);

    private final Pool pool;
    private final Credentials credentials;
    private final Metrics metrics;
    private final MethodDescriptor<Q, A> method;
    private final Q request;
    private final Function<A, Optional<R>> meaning;
    private final BiConsumer<R, Throwable> observer;
    private final Terms terms;
    private final Deadline deadline;
    private final CompletableFuture<R> result = new CompletableFuture<>();
    private volatile ClientCall<Q, A> inFlight;

    // Used by one thread after the other.
    private final Set<InetSocketAddress> tried = new HashSet<>();
    private final List<String> failures = Collections.synchronizedList(new ArrayList<>());
    private final AtomicBoolean ended = new AtomicBoolean();
    private int pauses;

    Call(
            Pool pool,
            Credentials credentials,
            Metrics metrics,
            MethodDescriptor<Q, A> method,
            Q request,
            Function<A, Optional<R>> meaning,
            BiConsumer<R, Throwable> observer,
            Terms terms) {
        this.pool = pool;
        this.credentials = credentials;
        this.metrics = metrics;
        this.method = method;
        this.request = request;
        this.meaning = meaning;
        this.observer = observer;
        this.terms = terms;
        this.deadline = Deadline.after(terms.deadline().toNanos(), TimeUnit.NANOSECONDS);
    }

    /** How the call ends. */
    CompletableFuture<R> result() {
        return result;
    }

    /** Begins the first attempt. */
    void start() {
        var end = pool.schedule(this::failUnavailable, terms.deadline().plus(GRACE));
        var unused =
                result.whenComplete(
                        (answer, error) -> {
                            end.cancel(false);
                            ClientCall<Q, A> call = inFlight;
                            if (call != null) {
                                call.cancel(GIVEN_UP, null); // does nothing if it has ended
                            }
                        });
        if (pool.firstLookUp().isDone()) {
            orFail(this::attempt);
        } else {
            var unusedToo =
                    pool.firstLookUp()
                            .copy()
                            .completeOnTimeout(null, nanosLeft(), TimeUnit.NANOSECONDS)
                            .thenRun(() -> orFail(this::attempt));
        }
    }

    private long nanosLeft() {
        return deadline.timeRemaining(TimeUnit.NANOSECONDS);
    }

    /** Makes the next attempt, after a pause if it is on a replica that was asked before. */
    private void attempt() {
        Replica replica = pool.pick(tried);
        if (replica == null || !tried.contains(replica.address())) {
            inTurn(replica);
            return;
        }
        Duration pause = PAUSE.multipliedBy(1L << Math.min(pauses++, MOST_DOUBLINGS));
        if (pause.toNanos() >= nanosLeft()) {
            failUnavailable();
        } else if (terms.isAdmin()) {
            later(() -> whenReady(nanosLeft() / 2), pause);
        } else {
            later(() -> inTurn(pool.pick(tried)), pause);
        }
    }

    /**
     * Makes the next attempt when a replica is ready, or when so much is left that there is time to
     * ask one that is not.
     */
    private void whenReady(long nanosLeftAtLeast) {
        if (pool.readyCount() > 0 || nanosLeft() <= nanosLeftAtLeast) {
            inTurn(pool.pick(tried));
        } else {
            later(() -> whenReady(nanosLeftAtLeast), PAUSE);
        }
    }

    private void later(Runnable step, Duration pause) {
        var unused = pool.schedule(() -> orFail(step), pause);
    }

    /** Makes the next attempt when it is its turn. A call that waits still ends in time. */
    private void inTurn(Replica picked) {
        if (terms.isAdmin()) {
            boolean unused = ask(picked, () -> {});
            return;
        }
        AtomicBoolean waits = new AtomicBoolean(true);
        AtomicBoolean waited = new AtomicBoolean();
        Turns turns = pool.turns();
        turns.begin(
                () ->
                        waits.compareAndSet(true, false)
                                && orFail(
                                        () ->
                                                ask(
                                                        waited.get() ? pool.pick(tried) : picked,
                                                        turns::end)));
        waited.set(true);
        if (waits.get()) {
            later(
                    () -> {
                        if (waits.compareAndSet(true, false) && !result.isDone()) {
                            failures.add("too many calls were in flight");
                            failUnavailable();
                        }
                    },
                    Duration.ofNanos(Math.max(nanosLeft(), 0)));
        }
    }

    /**
     * Makes an attempt.
     *
     * @param ended runs when the attempt has ended, if it has begun
     * @return whether it has begun
     */
    private boolean ask(Replica replica, Runnable ended) {
        if (result.isDone()) {
            return false;
        }
        if (replica == null && pool.isFull()) {
            later(this::attempt, PAUSE);
            return false;
        }
        if (replica == null) {
            failures.add("no address is known, " + pool.lookUpProblem());
            failUnavailable();
            return false;
        }
        long nanos = terms.nanosForAttempt(nanosLeft());
        if (nanos <= 0) {
            failUnavailable();
            return false;
        }
        tried.add(replica.address());
        replica.attemptBegins();
        int watchNumber = replica.watchNumber();
        CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(nanos, TimeUnit.NANOSECONDS);
        ClientCall<Q, A> call = replica.newCall(method, options);
        call.start(
                new ClientCall.Listener<>() {
                    private final List<A> responses = new ArrayList<>();

                    @Override
                    public void onMessage(A message) {
                        responses.add(message);
                    }

                    @Override
                    public void onClose(Status status, Metadata trailers) {
                        boolean ranOut = status.getCode() == Status.Code.DEADLINE_EXCEEDED;
                        if (ranOut
                                && nanos >= Math.max(terms.nanosOfWholeAttempt(), TELLING_NANOS)) {
                            pool.timedOut(replica, watchNumber);
                        }
                        replica.attemptEnds(ranOut);
                        ended.run();
                        String asked = Address.text(replica.address());
                        // Of several, none can be believed.
                        A response = responses.size() == 1 ? responses.get(0) : null;
                        orFail(() -> attemptEnded(asked, nanos, response, status, trailers));
                    }
                },
                credentials.headers());
        call.request(2); // gRPC does not say by itself that there is more than one response
        call.sendMessage(request);
        call.halfClose();
        inFlight = call;
        if (result.isDone()) { // meanwhile, when inFlight was another call
            call.cancel(GIVEN_UP, null);
        }
        return true;
    }

    private void attemptEnded(
            String asked, long nanos, A response, Status status, Metadata trailers) {
        if (result.isDone()) {
            return;
        }
        Status.Code code = status.getCode();
        metrics.countAttempt(code);
        if (code == Status.Code.OK) {
            Optional<R> answer = response == null ? Optional.empty() : meaning.apply(response);
            if (answer.isPresent()) {
                succeed(answer.get());
                return;
            }
            failures.add(asked + " gave an answer that has no meaning");
        } else if (MISUSED.contains(code)) {
            fail(new MisusedException(code, code + ": " + description(status)));
            return;
        } else {
            RefusedException refusal = terms.isAdmin() ? refusal(status, trailers) : null;
            if (refusal != null) {
                fail(refusal);
                return;
            }
            failures.add(
                    code == Status.Code.DEADLINE_EXCEEDED
                            ? asked + " did not answer within " + millis(nanos) + " ms"
                            : asked + " answered " + code + ": " + description(status));
        }
        if (failures.size() < terms.maxAttempts()) {
            attempt();
        } else {
            failUnavailable();
        }
    }

    private void failUnavailable() {
        Map<String, Integer> times = new LinkedHashMap<>();
        List.copyOf(failures).forEach(failure -> times.merge(failure, 1, Integer::sum));
        List<String> happened = new ArrayList<>();
        times.forEach(
                (failure, count) ->
                        happened.add(count == 1 ? failure : failure + ", " + count + " times"));
        fail(
                new UnavailableException(
                        "no replica could answer within "
                                + terms.deadline().toMillis()
                                + " ms and "
                                + terms.maxAttempts()
                                + " attempts: "
                                + (happened.isEmpty()
                                        ? "too many calls were in flight"
                                        : String.join("; ", happened))));
    }

    private void succeed(R answer) {
        if (ended.compareAndSet(false, true)) {
            observer.accept(answer, null);
            result.complete(answer);
        }
    }

    private void fail(Throwable error) {
        if (ended.compareAndSet(false, true)) {
            observer.accept(null, error);
            result.completeExceptionally(error);
        }
    }

    /** Runs a step, so that whatever happens in it, the call ends. */
    private void orFail(Runnable step) {
        boolean unused =
                orFail(
                        () -> {
                            step.run();
                            return true;
                        });
    }

    /** The same for a step that says something. It is false if the step fails. */
    private boolean orFail(BooleanSupplier step) {
        try {
            return step.getAsBoolean();
        } catch (RuntimeException | Error e) {
            result.completeExceptionally(e);
            return false;
        }
    }

    /** The refusal of an admin call; null if another attempt may succeed. */
    private static RefusedException refusal(Status status, Metadata trailers) {
        String reason = null;
        String resourceName = null;
        byte[] details = trailers.get(DETAILS);
        try {
            var said = com.google.rpc.Status.parseFrom(details == null ? new byte[0] : details);
            for (Any detail : said.getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    reason = Foreign.tame(detail.unpack(ErrorInfo.class).getReason());
                } else if (detail.is(ResourceInfo.class)) {
                    resourceName =
                            Foreign.tame(detail.unpack(ResourceInfo.class).getResourceName());
                }
            }
        } catch (InvalidProtocolBufferException e) {
            // What cannot be read is as if it were not there.
        }
        if (TRIED_AGAIN.contains(status.getCode()) && !"TOO_MANY_KEYS".equals(reason)) {
            return null;
        }
        return new RefusedException(status.getCode(), description(status), reason, resourceName);
    }

    /** What the server or gRPC says of an error, on one line. */
    private static String description(Status status) {
        Throwable cause = status.getCause();
        while (cause != null && cause.getCause() != null) {
            cause = cause.getCause();
        }
        String said = firstLine(status.getDescription());
        return Foreign.tame(cause == null ? said : said + ", " + firstLine(cause.getMessage()));
    }

    /** Of gRPC's own texts, the further lines show what a proxy has answered. */
    private static String firstLine(String text) {
        return text == null ? "" : text.lines().findFirst().orElse("");
    }

    private static long millis(long nanos) {
        return TimeUnit.NANOSECONDS.toMillis(nanos);
    }
}
