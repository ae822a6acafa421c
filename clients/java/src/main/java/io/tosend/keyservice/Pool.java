package io.tosend.keyservice;

import io.grpc.ManagedChannel;
import io.grpc.SynchronizationContext;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;

import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * All replicas: finds them by their names, keeps one connection to each, and says which is next.
 *
 * <p>Everything changes in one synchronization context, so one after the other and without locks.
 * Calls only read {@link #replicas}.
 */
final class Pool implements Replica.Owner, AutoCloseable {
    private static final System.Logger LOG = System.getLogger(Pool.class.getName());

    private static final Duration LOOK_UP_EVERY = Duration.ofSeconds(5);
    private static final Duration LOOK_UP_AT_MOST_EVERY = Duration.ofSeconds(1);
    private static final Duration READ_FILES_EVERY = Duration.ofSeconds(1);
    private static final Duration SHORTEST_BACKOFF = Duration.ofMillis(100);
    private static final Duration LONGEST_BACKOFF = Duration.ofSeconds(1);

    /** gRPC for Java does not ping more often. */
    private static final Duration PING_EVERY = Duration.ofSeconds(10);

    private static final Duration PING_TIMEOUT = Duration.ofSeconds(5);

    /** One thread may wait for the name service, one for a file system, and one is always free. */
    private static final int THREADS = 3;

    private final List<Address> addresses;
    private final String serverName;
    private final Credentials credentials;
    private final ScheduledThreadPoolExecutor timer;
    private final SynchronizationContext sync =
            new SynchronizationContext(
                    (thread, e) -> LOG.log(Level.ERROR, "a change of the replicas failed", e));

    // Found by look-ups, of which only one runs at a time.
    private final Map<Address, List<InetSocketAddress>> found = new HashMap<>();
    private final AtomicBoolean lookingUp = new AtomicBoolean();
    private final CompletableFuture<Void> firstLookUp = new CompletableFuture<>();
    private final AtomicLong lastLookUp = new AtomicLong(System.nanoTime());
    private volatile String lookUpProblem = "the first look-up has not ended";

    // Changed in the synchronization context.
    private final Map<InetSocketAddress, Replica> current = new LinkedHashMap<>();
    private final Map<InetSocketAddress, Replica> successors = new HashMap<>();
    private final Map<InetSocketAddress, String> authorities = new HashMap<>();
    private final Map<InetSocketAddress, Integer> failures = new HashMap<>();
    private boolean closed;

    /** What {@link #current} has. */
    private volatile List<Replica> replicas = List.of();

    private final AtomicInteger turn = new AtomicInteger();
    private final Turns turns = new Turns();
    private final Object readyMonitor = new Object();

    static {
        FrameLog.leaveOut();
    }

    Pool(List<Address> addresses, String serverName, Credentials credentials) {
        this.addresses = List.copyOf(addresses);
        this.serverName = serverName;
        this.credentials = credentials;
        timer =
                new ScheduledThreadPoolExecutor(
                        THREADS,
                        task -> {
                            Thread thread = new Thread(task, "keyservice-client");
                            thread.setDaemon(true);
                            return thread;
                        });
        timer.setRemoveOnCancelPolicy(true);
        repeat(this::lookUp, Duration.ZERO, LOOK_UP_EVERY);
        if (credentials.haveFiles()) {
            repeat(this::readFiles, READ_FILES_EVERY, READ_FILES_EVERY);
        }
    }

    /** Of the attempts of Authorize. */
    Turns turns() {
        return turns;
    }

    /** Runs something later. */
    Future<?> schedule(Runnable task, Duration delay) {
        return timer.schedule(task, delay.toMillis(), TimeUnit.MILLISECONDS);
    }

    /** Ends when the first look-up has ended. */
    CompletableFuture<Void> firstLookUp() {
        return firstLookUp;
    }

    /** Why no replica is known. */
    String lookUpProblem() {
        return lookUpProblem;
    }

    /**
     * The replica to ask next, in turns: one that is ready and was not tried, else one that is
     * ready, else one that was not tried, else any.
     *
     * @param tried the addresses that this call has asked before
     * @return null if no replica is known, or none has room for another attempt
     */
    Replica pick(Set<InetSocketAddress> tried) {
        List<Replica> best = new ArrayList<>();
        int bestRank = 0;
        boolean anyReady = false;
        for (Replica replica : replicas) {
            boolean ready = replica.isReady();
            anyReady |= ready;
            if (!replica.hasRoom()) {
                continue;
            }
            int rank = (ready ? 2 : 0) + (tried.contains(replica.address()) ? 0 : 1);
            if (rank > bestRank) {
                best.clear();
                bestRank = rank;
            }
            if (rank == bestRank) {
                best.add(replica);
            }
        }
        if (!anyReady) {
            lookUpSoon();
        }
        return best.isEmpty() ? null : best.get(Math.floorMod(turn.getAndIncrement(), best.size()));
    }

    /** Whether replicas are known, of which none has room for another attempt. */
    boolean isFull() {
        List<Replica> all = replicas;
        return !all.isEmpty() && all.stream().noneMatch(Replica::hasRoom);
    }

    /** An attempt was not answered in time. */
    void timedOut(Replica replica, int watchNumber) {
        sync.execute(() -> replica.timedOut(watchNumber));
    }

    long readyCount() {
        return replicas.stream().filter(Replica::isReady).count();
    }

    long notReadyCount() {
        return replicas.stream().filter(replica -> !replica.isReady()).count();
    }

    boolean waitUntilReady(Duration timeout) throws InterruptedException {
        long end = System.nanoTime() + timeout.toNanos();
        synchronized (readyMonitor) {
            while (readyCount() == 0) {
                long left = end - System.nanoTime();
                if (left <= 0) {
                    return false;
                }
                // Never 0, which would wait for ever.
                readyMonitor.wait(TimeUnit.NANOSECONDS.toMillis(left) + 1);
            }
            return true;
        }
    }

    /** Ends all connections, and waits a moment for that. Calls must have ended. */
    @Override
    public void close() {
        CompletableFuture<List<Replica>> ended = new CompletableFuture<>();
        sync.execute(
                () -> {
                    closed = true;
                    List<Replica> ending = new ArrayList<>(current.values());
                    ending.addAll(successors.values());
                    current.clear();
                    successors.clear();
                    publish();
                    ending.forEach(Replica::close);
                    ended.complete(ending);
                });
        List<Replica> replicasEnding = ended.join();
        timer.shutdownNow(); // only now, because a change that has begun uses it
        long end = System.nanoTime() + Duration.ofSeconds(1).toNanos();
        try {
            for (Replica replica : replicasEnding) {
                replica.awaitEnd(end - System.nanoTime());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public String toString() {
        return addresses + ": " + readyCount() + " of " + replicas.size() + " replicas are ready";
    }

    // Look-ups

    private void lookUpSoon() {
        long now = System.nanoTime();
        long last = lastLookUp.get();
        if (now - last >= LOOK_UP_AT_MOST_EVERY.toNanos() && lastLookUp.compareAndSet(last, now)) {
            timer.execute(this::lookUp);
        }
    }

    private void lookUp() {
        if (!lookingUp.compareAndSet(false, true)) {
            return;
        }
        try {
            lastLookUp.set(System.nanoTime());
            List<String> problems = new ArrayList<>();
            for (Address address : addresses) {
                try {
                    List<InetSocketAddress> all = address.lookUp();
                    if (credentials.sendSecretInPlainText()
                            && !all.stream().allMatch(Pool::isHere)) {
                        problems.add("a secret is not sent to " + all + " in plain text");
                    } else {
                        found.put(address, all);
                    }
                } catch (UnknownHostException e) {
                    // What was found before remains.
                    problems.add("the host " + address.host() + " is not known");
                }
            }
            Map<InetSocketAddress, String> wanted = new LinkedHashMap<>();
            for (Address address : addresses) {
                String authority = serverName != null ? serverName : address.toString();
                for (InetSocketAddress one : found.getOrDefault(address, List.of())) {
                    wanted.putIfAbsent(one, authority);
                }
            }
            sync.execute(
                    () -> {
                        setWanted(wanted);
                        lookUpProblem = String.join(", ", problems);
                    });
        } finally {
            lookingUp.set(false);
            sync.execute(() -> firstLookUp.complete(null)); // behind setWanted
        }
    }

    /** What the name localhost stands for is not this library's to decide. */
    private static boolean isHere(InetSocketAddress one) {
        return one.getAddress().isLoopbackAddress();
    }

    private void setWanted(Map<InetSocketAddress, String> wanted) {
        if (closed) {
            return;
        }
        authorities.clear();
        authorities.putAll(wanted);
        for (InetSocketAddress address : List.copyOf(current.keySet())) {
            if (!wanted.containsKey(address)) {
                LOG.log(Level.DEBUG, "{0} is no replica any more", Address.text(address));
                forget(address);
            }
        }
        for (InetSocketAddress address : wanted.keySet()) {
            if (!current.containsKey(address)) {
                current.put(address, connect(address));
            }
        }
        publish();
    }

    private void forget(InetSocketAddress address) {
        Replica before = current.remove(address);
        publish();
        before.close();
        Replica successor = successors.remove(address);
        if (successor != null) {
            successor.close();
        }
        failures.remove(address);
    }

    // Connections

    /** gRPC repeats by itself only what a connection refused to begin at its end. */
    private Replica connect(InetSocketAddress address) {
        ManagedChannel channel =
                NettyChannelBuilder.forAddress(address, credentials.channelCredentials())
                        .overrideAuthority(authorities.get(address))
                        .userAgent("keyservice-client-java/" + KeyServiceClient.VERSION)
                        .keepAliveTime(PING_EVERY.toMillis(), TimeUnit.MILLISECONDS)
                        .keepAliveTimeout(PING_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS)
                        .build();
        return new Replica(address, channel, sync, timer, this);
    }

    private void readFiles() {
        if (credentials.refresh()) {
            sync.execute(this::connectAnew);
        }
    }

    /**
     * Connects to every replica with new certificates. The old connection serves until the new one
     * is ready, so no call waits for it.
     */
    private void connectAnew() {
        for (InetSocketAddress address : current.keySet()) {
            Replica earlier = successors.put(address, connect(address));
            if (earlier != null) {
                earlier.close();
            }
        }
    }

    @Override
    public void readyChanged(Replica replica) {
        InetSocketAddress address = replica.address();
        LOG.log(
                Level.DEBUG,
                "{0} is {1}",
                Address.text(address),
                replica.isReady() ? "ready" : "not ready");
        if (replica.isReady()) {
            failures.remove(address);
            if (successors.remove(address, replica)) {
                replace(address, replica);
            }
            synchronized (readyMonitor) {
                readyMonitor.notifyAll();
            }
        }
    }

    @Override
    public void lost(Replica replica) {
        int before = failures.merge(replica.address(), 1, Integer::sum) - 1;
        long backoff =
                Math.min(
                        SHORTEST_BACKOFF.toMillis() << Math.min(before, 10),
                        LONGEST_BACKOFF.toMillis());
        sync.schedule(() -> replaceLost(replica), backoff, TimeUnit.MILLISECONDS, timer);
    }

    private void replaceLost(Replica lost) {
        InetSocketAddress address = lost.address();
        if (closed) {
            return;
        }
        if (successors.get(address) == lost) {
            successors.put(address, connect(address));
            lost.close();
        } else if (current.get(address) == lost) {
            Replica successor = successors.remove(address);
            replace(address, successor != null ? successor : connect(address));
        }
    }

    private void replace(InetSocketAddress address, Replica replica) {
        Replica before = current.put(address, replica);
        publish(); // first, so that no call begins on a connection that ends
        before.close();
    }

    private void publish() {
        replicas = List.copyOf(current.values());
    }

    private void repeat(Runnable task, Duration first, Duration pause) {
        Runnable logged =
                () -> {
                    try {
                        task.run();
                    } catch (RuntimeException e) {
                        LOG.log(Level.ERROR, "a periodic task failed, and will be tried again", e);
                    }
                };
        timer.scheduleWithFixedDelay(
                logged, first.toMillis(), pause.toMillis(), TimeUnit.MILLISECONDS);
    }
}
