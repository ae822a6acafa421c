package io.tosend.keyservice;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/** What several tests need. */
final class Tests {
    /** Longer than anything takes on a slow machine. */
    static final Duration LONG = Duration.ofSeconds(20);

    static final String TOKEN = "tsend_U6tmOk41kvjG9I2dJe4EXZNcfqctxcmkKAhSYJe7FSe0KhjQ1";

    private Tests() {}

    /** Options whose attempts do not time out, on however slow a machine. */
    static KeyServiceClientBuilder patient(FakeReplica... replicas) {
        return KeyServiceClient.builder()
                .addresses(Stream.of(replicas).map(FakeReplica::address).toArray(String[]::new))
                .plaintext()
                .deadline(LONG)
                .attemptTimeout(LONG);
    }

    /** A client for which all replicas are ready. */
    static KeyServiceClient ready(KeyServiceClientBuilder options) throws Exception {
        KeyServiceClient client = options.open();
        int count = options.addresses.size();
        eventually(() -> client.toString().contains(count + " of " + count));
        return client;
    }

    static void eventually(Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + LONG.toNanos();
        boolean holds = condition.call();
        while (!holds && System.nanoTime() < end) {
            LockSupport.parkNanos(Duration.ofMillis(5).toNanos());
            holds = condition.call();
        }
        assertTrue(holds, "did not come to hold");
    }
}
