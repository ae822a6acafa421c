package io.tosend.keyservice;

import static io.tosend.keyservice.Tests.TOKEN;
import static io.tosend.keyservice.Tests.eventually;
import static io.tosend.keyservice.Tests.patient;
import static io.tosend.keyservice.Tests.ready;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import com.google.rpc.ResourceInfo;

import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.tosend.keys.v1.CreateRequest;
import io.tosend.keys.v1.CreateResponse;
import io.tosend.keys.v1.Key;
import io.tosend.keys.v1.RevokeRequest;
import io.tosend.keys.v1.RevokeResponse;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

@Timeout(60)
class AdminTest {
    private static final CreateRequest CREATE =
            CreateRequest.newBuilder().setAccountId("acme").setName("Newsletter").build();
    private static final CreateResponse CREATED =
            CreateResponse.newBuilder()
                    .setToken(TOKEN)
                    .setKey(Key.newBuilder().setKeyId("key_1"))
                    .build();

    @Test
    void everyAttemptOfACreateHasTheSameRequestId() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            Iterator<Object> answers = List.<Object>of(Status.Code.UNKNOWN, CREATED).iterator();
            replica.answerBy(request -> answers.next());
            assertEquals(TOKEN, client.admin().create(CREATE).token());

            List<String> ids =
                    replica.requests().stream()
                            .map(r -> ((CreateRequest) r).getRequestId())
                            .toList();
            assertEquals(2, ids.size());
            assertEquals(36, ids.get(0).length());
            assertEquals(ids.get(0), ids.get(1));

            replica.answer(CREATED);
            var own = CREATE.toBuilder().setRequestId("mine").build();
            assertEquals(TOKEN, client.admin().create(own).token());
            assertEquals(own, replica.requests().get(2));
        }
    }

    @ParameterizedTest
    @EnumSource(
            names = {
                "UNAVAILABLE",
                "DEADLINE_EXCEEDED",
                "INTERNAL",
                "UNKNOWN",
                "CANCELLED",
                "RESOURCE_EXHAUSTED"
            })
    void afterTheseCodesItIsTriedAgain(Status.Code code) throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(code);
            assertThrows(UnavailableException.class, () -> client.admin().create(CREATE));
            assertEquals(4, replica.calls());
        }
    }

    @ParameterizedTest
    @EnumSource(
            names = {
                "NOT_FOUND",
                "FAILED_PRECONDITION",
                "ALREADY_EXISTS",
                "ABORTED",
                "OUT_OF_RANGE",
                "UNIMPLEMENTED",
                "DATA_LOSS"
            })
    void theseCodesAreRefusedAtOnce(Status.Code code) throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(code);
            var refused = assertThrows(RefusedException.class, () -> client.admin().create(CREATE));
            assertEquals(code, refused.code());
            assertEquals("by test", refused.description());
            assertEquals(Optional.empty(), refused.reason());
            assertEquals(1, replica.calls());
        }
    }

    @Test
    void aRefusalHasTheDetails() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(
                    com.google.rpc.Status.newBuilder()
                            .setCode(Status.Code.ALREADY_EXISTS.value())
                            .setMessage("the key exists")
                            .addDetails(Any.pack(info("THE_REASON")))
                            .addDetails(
                                    Any.pack(
                                            ResourceInfo.newBuilder()
                                                    .setResourceName("key_7")
                                                    .build()))
                            .build());
            var refused = assertThrows(RefusedException.class, () -> client.admin().create(CREATE));
            assertEquals(Optional.of("THE_REASON"), refused.reason());
            assertEquals(Optional.of("key_7"), refused.resourceName());
            assertEquals("ALREADY_EXISTS: the key exists (THE_REASON)", refused.getMessage());
        }
    }

    @Test
    void detailsThatCannotBeReadOrAreOfAnotherCodeHideNoRefusal() throws Exception {
        Metadata.Key<byte[]> key =
                Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
        byte[] ofAnotherCode = com.google.rpc.Status.newBuilder().setCode(9).build().toByteArray();
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            for (byte[] details : List.of(new byte[] {-1, -1, -1}, ofAnotherCode)) {
                var trailers = new Metadata();
                trailers.put(key, details);
                replica.answer(Status.NOT_FOUND.asRuntimeException(trailers));
                var refused =
                        assertThrows(RefusedException.class, () -> client.admin().create(CREATE));
                assertEquals(Status.Code.NOT_FOUND, refused.code());
            }
        }
    }

    @Test
    void tooManyKeysAreRefusedThoughTheCodeIsTriedAgainOtherwise() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(
                    com.google.rpc.Status.newBuilder()
                            .setCode(Status.Code.RESOURCE_EXHAUSTED.value())
                            .addDetails(Any.pack(info("TOO_MANY_KEYS")))
                            .build());
            assertThrows(RefusedException.class, () -> client.admin().create(CREATE));
            assertEquals(1, replica.calls());
        }
    }

    @Test
    void anAttemptTakesHalfOfWhatIsLeft() throws Exception {
        try (var one = new FakeReplica();
                var two = new FakeReplica();
                var client = ready(patient(one, two).attemptTimeout(Duration.ofMillis(300)))) {
            one.hang();
            two.answer(RevokeResponse.getDefaultInstance());
            var revoke = RevokeRequest.newBuilder().setToken(TOKEN).build();
            for (int i = 0; i < 2; i++) {
                assertEquals(
                        RevokeResponse.getDefaultInstance(),
                        client.admin(Duration.ofSeconds(2)).revoke(revoke));
            }
            assertEquals(1, one.calls());
        }
    }

    @Test
    void aCallWaitsForALoneReplicaThatRestarts() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(Status.Code.UNAVAILABLE);
            replica.setHealth(ServingStatus.NOT_SERVING);
            eventually(() -> client.toString().contains("0 of 1"));
            var restart =
                    CompletableFuture.runAsync(
                            () -> {
                                replica.answer(RevokeResponse.getDefaultInstance());
                                replica.setHealth(ServingStatus.SERVING);
                            },
                            CompletableFuture.delayedExecutor(500, TimeUnit.MILLISECONDS));
            var revoke = RevokeRequest.newBuilder().setKeyId("key_1").build();
            assertEquals(RevokeResponse.getDefaultInstance(), client.admin().revoke(revoke));
            assertEquals(2, replica.calls());
            restart.get();
        }
    }

    @Test
    void aNewKeyPrintsWithoutItsToken() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(CREATED);
            NewKey created = client.admin().create(CREATE);
            assertEquals(TOKEN, created.token());
            assertEquals("NewKey[keyId=key_1]", created.toString());
        }
    }

    private static ErrorInfo info(String reason) {
        return ErrorInfo.newBuilder().setDomain("keys.tosend").setReason(reason).build();
    }
}
