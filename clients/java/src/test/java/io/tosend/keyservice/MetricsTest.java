package io.tosend.keyservice;

import static io.tosend.keyservice.Tests.TOKEN;
import static io.tosend.keyservice.Tests.patient;
import static io.tosend.keyservice.Tests.ready;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.data.MetricData;
import io.opentelemetry.sdk.testing.exporter.InMemoryMetricReader;

import org.junit.jupiter.api.Test;

import java.util.Map;
import java.util.TreeMap;

class MetricsTest {
    @Test
    void theClientMeasures() throws Exception {
        InMemoryMetricReader reader = InMemoryMetricReader.create();
        var meters = SdkMeterProvider.builder().registerMetricReader(reader).build();
        try (var openTelemetry = OpenTelemetrySdk.builder().setMeterProvider(meters).build();
                var replica = new FakeReplica();
                var client = ready(patient(replica).maxAttempts(2).openTelemetry(openTelemetry))) {
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, "example.com"));
            replica.answer(FakeReplica.denial(3));
            assertInstanceOf(Decision.Denied.class, client.authorize(TOKEN, "example.com"));
            replica.answer(Status.Code.UNAVAILABLE);
            assertThrows(UnavailableException.class, () -> client.authorize(TOKEN, "example.com"));
            replica.answer(Status.Code.UNAUTHENTICATED);
            assertThrows(MisusedException.class, () -> client.authorize(TOKEN, "example.com"));

            Map<String, Long> counts = new TreeMap<>();
            for (MetricData metric : reader.collectAllMetrics()) {
                String name = metric.getName();
                metric.getLongSumData()
                        .getPoints()
                        .forEach(p -> counts.put(name + p.getAttributes(), p.getValue()));
                metric.getHistogramData()
                        .getPoints()
                        .forEach(p -> counts.put(name + p.getAttributes(), p.getCount()));
            }
            assertEquals(
                    Map.of(
                            "keyservice.client.attempts{code=\"OK\"}", 2L,
                            "keyservice.client.attempts{code=\"UNAUTHENTICATED\"}", 1L,
                            "keyservice.client.attempts{code=\"UNAVAILABLE\"}", 2L,
                            "keyservice.client.authorize.duration{outcome=\"allowed\"}", 1L,
                            "keyservice.client.authorize.duration{outcome=\"denied\"}", 1L,
                            "keyservice.client.authorize.duration{outcome=\"misused\"}", 1L,
                            "keyservice.client.authorize.duration{outcome=\"unavailable\"}", 1L,
                            "keyservice.client.replicas{ready=\"false\"}", 0L,
                            "keyservice.client.replicas{ready=\"true\"}", 1L),
                    counts);
            assertTrue(
                    reader.collectAllMetrics().stream()
                            .noneMatch(m -> m.toString().contains(TOKEN)));
        }
    }
}
