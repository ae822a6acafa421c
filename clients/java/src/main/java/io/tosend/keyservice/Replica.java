package io.tosend.keyservice;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.SynchronizationContext;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * One connection to one replica, and the watch on it that says whether the replica is ready.
 *
 * <p>It lives as long as its connection works. When the watch ends, or is not answered in time, it
 * reports this once to its {@link Owner}, which connects anew. gRPC's own reconnecting, whose
 * pauses grow to two minutes, then does not matter.
 *
 * <p>All methods that change something are called in the synchronization context.
 */
final class Replica {
    /** Hears of changes, in the synchronization context. */
    interface Owner {
        void readyChanged(Replica replica);

        /** The connection is of no use any more. */
        void lost(Replica replica);
    }

    private static final HealthCheckRequest HEALTH =
            HealthCheckRequest.newBuilder().setService("tosend.keys.v1.KeyService").build();

    /** A connection that has worked is likely to be dead if a new watch takes longer. */
    private static final Duration PATIENCE = Duration.ofSeconds(1);

    /** A new connection may take longer: a process that starts loads the code for it. */
    private static final Duration FIRST_PATIENCE = Duration.ofSeconds(3);

    /**
     * How many attempts a connection may have that the server has perhaps not read. They are
     * cancelled when their time is up, and the server closes a connection on which it finds too
     * many of these: 256, by default.
     */
    private static final int MOST_UNREAD = 100;

    private final InetSocketAddress address;
    private final ManagedChannel channel;
    private final SynchronizationContext sync;
    private final ScheduledExecutorService timer;
    private final Owner owner;

    private volatile boolean ready;

    /** Which watch is the current one. What an earlier one says does not count any more. */
    private volatile int watchNumber;

    private ClientCall<HealthCheckRequest, HealthCheckResponse> watch;
    private SynchronizationContext.ScheduledHandle patience;
    private volatile boolean watchAnswered;

    private final AtomicInteger inFlight = new AtomicInteger();

    /**
     * Attempts whose time was up since the watch began. Its first answer shows that they are read.
     */
    private final AtomicInteger unread = new AtomicInteger();

    /** Whether any watch on this connection was answered. */
    private boolean worked;

    private boolean closed;

    Replica(
            InetSocketAddress address,
            ManagedChannel channel,
            SynchronizationContext sync,
            ScheduledExecutorService timer,
            Owner owner) {
        this.address = address;
        this.channel = channel;
        this.sync = sync;
        this.timer = timer;
        this.owner = owner;
        startWatch();
    }

    InetSocketAddress address() {
        return address;
    }

    boolean isReady() {
        return ready;
    }

    /** Whether another attempt may be made on this connection. */
    boolean hasRoom() {
        return watchAnswered || inFlight.get() + unread.get() < MOST_UNREAD;
    }

    void attemptBegins() {
        inFlight.incrementAndGet();
    }

    void attemptEnds(boolean ranOut) {
        if (ranOut && !watchAnswered) {
            unread.incrementAndGet();
        }
        inFlight.decrementAndGet();
    }

    /** To be given to {@link #timedOut}, and read before the attempt begins. */
    int watchNumber() {
        return watchNumber;
    }

    /**
     * A call in no context: gRPC would end it with the call that the caller is serving, and the
     * watch, which many callers need, too.
     */
    <Q, A> ClientCall<Q, A> newCall(MethodDescriptor<Q, A> method, CallOptions options) {
        Context callers = Context.ROOT.attach();
        try {
            return channel.newCall(method, options);
        } finally {
            Context.ROOT.detach(callers);
        }
    }

    /**
     * An attempt was not answered in time. The replica is not ready until a new watch says so. Many
     * attempts that began before count once.
     */
    void timedOut(int watchNumber) {
        if (watchNumber == this.watchNumber && watchAnswered && !closed) {
            setReady(false);
            startWatch();
        }
    }

    /** Ends the connection as soon as the calls on it have ended. */
    void close() {
        closed = true;
        endWatch();
        ready = false;
        channel.shutdown();
    }

    boolean awaitEnd(long nanos) throws InterruptedException {
        return channel.awaitTermination(nanos, TimeUnit.NANOSECONDS);
    }

    private void startWatch() {
        endWatch();
        int number = watchNumber;
        watchAnswered = false;
        watch = newCall(HealthGrpc.getWatchMethod(), CallOptions.DEFAULT);
        watch.start(
                new ClientCall.Listener<>() {
                    @Override
                    public void onMessage(HealthCheckResponse response) {
                        sync.execute(() -> watchSays(number, response.getStatus()));
                    }

                    @Override
                    public void onClose(Status status, Metadata trailers) {
                        sync.execute(() -> watchEnds(number));
                    }
                },
                new Metadata());
        watch.request(1);
        watch.sendMessage(HEALTH);
        watch.halfClose();
        Duration limit = worked ? PATIENCE : FIRST_PATIENCE;
        patience =
                sync.schedule(
                        () -> watchEnds(number), limit.toMillis(), TimeUnit.MILLISECONDS, timer);
    }

    private void watchSays(int number, ServingStatus status) {
        if (number == watchNumber) {
            patience.cancel();
            watchAnswered = true;
            unread.set(0);
            worked = true;
            setReady(status == ServingStatus.SERVING);
            watch.request(1);
        }
    }

    private void watchEnds(int number) {
        if (number == watchNumber) {
            endWatch();
            setReady(false);
            owner.lost(this);
        }
    }

    /** From here on, nothing that was said by the watch counts. */
    private void endWatch() {
        watchNumber++;
        if (watch != null) {
            patience.cancel();
            watch.cancel("the watch is not needed any more", null);
            watch = null;
        }
    }

    private void setReady(boolean now) {
        if (ready != now) {
            ready = now;
            owner.readyChanged(this);
        }
    }
}
