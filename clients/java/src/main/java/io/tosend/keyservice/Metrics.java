package io.tosend.keyservice;

import io.grpc.Status;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.metrics.DoubleHistogram;
import io.opentelemetry.api.metrics.LongCounter;
import io.opentelemetry.api.metrics.Meter;
import io.opentelemetry.api.metrics.ObservableLongUpDownCounter;

import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/** What the client measures. It costs nothing where OpenTelemetry is not set up. */
final class Metrics implements AutoCloseable {
    private static final AttributeKey<String> OUTCOME = AttributeKey.stringKey("outcome");
    private static final AttributeKey<String> CODE = AttributeKey.stringKey("code");
    private static final Attributes READY = Attributes.of(AttributeKey.stringKey("ready"), "true");
    private static final Attributes NOT_READY =
            Attributes.of(AttributeKey.stringKey("ready"), "false");

    /** Seconds: from less than a millisecond to the longest common deadline. */
    private static final List<Double> BUCKETS =
            List.of(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1., 2.5);

    private final DoubleHistogram durations;
    private final LongCounter attempts;
    private final ObservableLongUpDownCounter replicas;

    /**
     * Begins to measure.
     *
     * @param ready says how many replicas are ready
     * @param notReady says how many are not
     */
    Metrics(OpenTelemetry openTelemetry, LongSupplier ready, LongSupplier notReady) {
        OpenTelemetry used =
                openTelemetry != null ? openTelemetry : GlobalOpenTelemetry.getOrNoop();
        Meter meter =
                used.meterBuilder("io.tosend.keyservice")
                        .setInstrumentationVersion(KeyServiceClient.VERSION)
                        .build();
        durations =
                meter.histogramBuilder("keyservice.client.authorize.duration")
                        .setDescription("How long authorize took, with all its attempts")
                        .setUnit("s")
                        .setExplicitBucketBoundariesAdvice(BUCKETS)
                        .build();
        attempts =
                meter.counterBuilder("keyservice.client.attempts")
                        .setDescription("Attempts, by the gRPC code with which they ended")
                        .setUnit("{attempt}")
                        .build();
        replicas =
                meter.upDownCounterBuilder("keyservice.client.replicas")
                        .setDescription("Replicas that the client knows")
                        .setUnit("{replica}")
                        .buildWithCallback(
                                now -> {
                                    now.record(ready.getAsLong(), READY);
                                    now.record(notReady.getAsLong(), NOT_READY);
                                });
    }

    void countAttempt(Status.Code code) {
        attempts.add(1, Attributes.of(CODE, code.name()));
    }

    /**
     * Measures a call of authorize. One that its caller has given up has no outcome.
     *
     * @param decision null if there is none
     */
    void recordAuthorize(long nanos, Decision decision, Throwable error) {
        String outcome;
        if (decision != null) {
            outcome = decision instanceof Decision.Allowed ? "allowed" : "denied";
        } else if (error instanceof UnavailableException) {
            outcome = "unavailable";
        } else if (error instanceof MisusedException) {
            outcome = "misused";
        } else {
            return;
        }
        durations.record(
                nanos / (double) TimeUnit.SECONDS.toNanos(1), Attributes.of(OUTCOME, outcome));
    }

    @Override
    public void close() {
        replicas.close();
    }
}
