package io.tosend.keyservice;

import static io.tosend.keyservice.Tests.LONG;
import static io.tosend.keyservice.Tests.TOKEN;
import static io.tosend.keyservice.Tests.eventually;
import static io.tosend.keyservice.Tests.patient;
import static io.tosend.keyservice.Tests.ready;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Context;
import io.grpc.InsecureServerCredentials;
import io.grpc.Status;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.tosend.keys.v1.AuthorizeResponse;
import io.tosend.keys.v1.Grant;
import io.tosend.keys.v1.Scope;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

@Timeout(60)
class AuthorizeTest {
    private static final String DOMAIN = "mail.example.com";

    @Test
    void aGrantIsAllowed() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            assertEquals(
                    new Decision.Allowed("key_1", "acme", Optional.empty()),
                    client.authorize(TOKEN, DOMAIN));

            Grant forOne =
                    FakeReplica.GRANT.getGrant().toBuilder()
                            .setScope(Scope.newBuilder().setDomain(DOMAIN))
                            .build();
            replica.answer(FakeReplica.GRANT.toBuilder().setGrant(forOne).build());
            assertEquals(
                    new Decision.Allowed("key_1", "acme", Optional.of(DOMAIN)),
                    client.authorizeAsync(TOKEN, DOMAIN).get());
        }
    }

    @Test
    void aDenialIsDeniedWithItsReason() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(FakeReplica.denial(3));
            var revoked = assertInstanceOf(Decision.Denied.class, client.authorize(TOKEN, DOMAIN));
            assertEquals(Decision.Reason.REVOKED, revoked.reason());
            assertEquals("REVOKED", revoked.reasonText());
            assertEquals(401, revoked.httpStatus());

            replica.answer(FakeReplica.denial(99));
            var unknown = assertInstanceOf(Decision.Denied.class, client.authorize(TOKEN, DOMAIN));
            assertEquals(Decision.Reason.OTHER, unknown.reason());
            assertEquals("99", unknown.reasonText());
            assertEquals(403, unknown.httpStatus());
        }
    }

    @Test
    void anAnswerWithoutMeaningAllowsNothing() throws Exception {
        AuthorizeResponse grant = FakeReplica.GRANT;
        List<AuthorizeResponse> answers =
                List.of(
                        AuthorizeResponse.getDefaultInstance(),
                        AuthorizeResponse.newBuilder().setGranted(true).build(),
                        grant.toBuilder().setGranted(false).build(),
                        FakeReplica.denial(3).toBuilder().setGranted(true).build(),
                        grant.toBuilder().setGrant(Grant.newBuilder().setKeyId("key_1")).build(),
                        grant.toBuilder()
                                .setGrant(
                                        Grant.newBuilder()
                                                .setScope(Scope.newBuilder().setDomain("")))
                                .build());
        try (var replica = new FakeReplica();
                var client = ready(patient(replica).maxAttempts(2))) {
            for (AuthorizeResponse answer : answers) {
                replica.answer(answer);
                assertThrows(UnavailableException.class, () -> client.authorize(TOKEN, DOMAIN));
            }
            assertEquals(2 * answers.size(), replica.calls());
        }
    }

    @Test
    void theTextOfOthersIsOneLineWithoutSecrets() throws Exception {
        String text =
                "no\t\u001b[31m\u009b1m\u202e: Bearer tsop_0aZ, " + TOKEN + "." + "x".repeat(1000);
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(Status.PERMISSION_DENIED.withDescription(text).asRuntimeException());
            var misused =
                    assertThrows(MisusedException.class, () -> client.authorize(TOKEN, DOMAIN));
            String shown = "PERMISSION_DENIED: no [31m 1m : Bearer tsop_…, tsend_….xxx";
            assertTrue(misused.getMessage().startsWith(shown), misused.getMessage());
            assertTrue(misused.getMessage().length() < 600);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED"})
    void theseCodesAreMisuseAtOnce(Status.Code code) throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(code);
            var misused =
                    assertThrows(MisusedException.class, () -> client.authorize(TOKEN, DOMAIN));
            assertEquals(code, misused.code());
            assertEquals(code + ": by test", misused.getMessage());
            assertEquals(1, replica.calls());
        }
    }

    @ParameterizedTest
    @EnumSource(
            names = {"OK", "INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED"},
            mode = Mode.EXCLUDE)
    void afterEveryOtherCodeAnotherReplicaIsAsked(Status.Code code) throws Exception {
        try (var one = new FakeReplica();
                var two = new FakeReplica();
                var three = new FakeReplica();
                var client = ready(patient(one, two, three))) {
            one.answer(code);
            two.answer(code);
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN));
            assertTrue(one.calls() <= 1 && two.calls() <= 1);
            assertEquals(1, three.calls());
        }
    }

    @Test
    void unavailableSaysWhatHappenedToEachAttempt() throws Exception {
        try (var one = new FakeReplica();
                var two = new FakeReplica();
                var client = ready(patient(one, two).attemptTimeout(Duration.ofMillis(300)))) {
            one.hang();
            two.answer(Status.Code.RESOURCE_EXHAUSTED);
            var error =
                    assertThrows(UnavailableException.class, () -> client.authorize(TOKEN, DOMAIN));
            String text = error.getMessage();
            assertTrue(text.contains(one.address() + " did not answer within 300 ms"), text);
            assertTrue(
                    text.contains(two.address() + " answered RESOURCE_EXHAUSTED: by test"), text);
            assertEquals(1, text.lines().count());
            assertEquals(4, one.calls() + two.calls());
        }
    }

    @Test
    void aReplicaThatHangsIsAskedOnceUntilItsHealthReturns() throws Exception {
        try (var one = new FakeReplica();
                var two = new FakeReplica();
                var client = ready(patient(one, two).attemptTimeout(Duration.ofMillis(300)))) {
            one.hang();
            for (int i = 0; i < 20; i++) {
                assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN));
            }
            assertEquals(1, one.calls());
            assertTrue(one.watches() > 1);

            one.resume();
            eventually(() -> client.toString().contains("2 of 2"));
            for (int i = 0; i < 4; i++) {
                assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN));
            }
            assertEquals(3, one.calls());
        }
    }

    @Test
    void aReplicaThatIsNotServingIsLeftAloneButNotIfItIsTheOnlyOne() throws Exception {
        try (var one = new FakeReplica();
                var two = new FakeReplica();
                var client = ready(patient(one, two))) {
            one.setHealth(ServingStatus.NOT_SERVING);
            eventually(() -> client.toString().contains("1 of 2"));
            for (int i = 0; i < 4; i++) {
                assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN));
            }
            assertEquals(0, one.calls());

            two.close();
            eventually(() -> client.toString().contains("0 of 2"));
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN));
            assertEquals(1, one.calls());
        }
    }

    @Test
    void aReplicaThatReturnsOnItsAddressIsReadyAgain() throws Exception {
        var replica = new FakeReplica();
        int port = replica.port();
        try (var client = ready(patient(replica).deadline(Duration.ofMillis(500)))) {
            replica.close();
            eventually(() -> client.toString().contains("0 of 1"));
            var error =
                    assertThrows(UnavailableException.class, () -> client.authorize(TOKEN, DOMAIN));
            assertTrue(error.getMessage().contains("Connection refused"), error.getMessage());
            try (var back = new FakeReplica(InsecureServerCredentials.create(), port)) {
                assertTrue(client.waitUntilReady(LONG));
                assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN, LONG));
                assertEquals(1, back.calls());
            }
        }
    }

    @Test
    void aThousandCallsAtOnceWaitForTheirTurnWithinTheirDeadline() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica).maxAttempts(1))) {
            List<CompletableFuture<Decision>> decisions = new ArrayList<>();
            for (int i = 0; i < 1000; i++) {
                decisions.add(client.authorizeAsync(TOKEN, DOMAIN));
            }
            for (CompletableFuture<Decision> decision : decisions) {
                assertInstanceOf(Decision.Allowed.class, decision.get());
            }

            replica.hang();
            decisions.clear();
            for (int i = 0; i < 200; i++) {
                decisions.add(client.authorizeAsync(TOKEN, DOMAIN, Duration.ofMillis(300)));
            }
            for (CompletableFuture<Decision> decision : decisions) {
                var error = assertThrows(ExecutionException.class, decision::get);
                assertInstanceOf(UnavailableException.class, error.getCause());
            }
            replica.resume();
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN));
        }
    }

    @Test
    void noAttemptsFollow100ThatAServerMayNotHaveRead() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica).attemptTimeout(Duration.ofMillis(200)))) {
            replica.hang();
            List<CompletableFuture<Decision>> decisions = new ArrayList<>();
            for (int i = 0; i < 300; i++) {
                decisions.add(client.authorizeAsync(TOKEN, DOMAIN, Duration.ofMillis(900)));
            }
            for (CompletableFuture<Decision> decision : decisions) {
                var error = assertThrows(ExecutionException.class, decision::get);
                assertInstanceOf(UnavailableException.class, error.getCause());
            }
            // Threads that choose at the same moment may be a few too many.
            assertTrue(replica.calls() <= 110, replica.calls() + " attempts");
            replica.resume();
            assertTrue(client.waitUntilReady(LONG));
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN));
        }
    }

    @Test
    void aReadyReplicaIsAskedAgainRatherThanOneThatIsNot() throws Exception {
        try (var ready = new FakeReplica();
                var one = new FakeReplica();
                var two = new FakeReplica();
                var client = ready(patient(ready, one, two))) {
            one.setHealth(ServingStatus.NOT_SERVING);
            two.setHealth(ServingStatus.NOT_SERVING);
            eventually(() -> client.toString().contains("1 of 3"));
            ready.answer(Status.Code.UNAVAILABLE);
            long start = System.nanoTime();
            assertThrows(UnavailableException.class, () -> client.authorize(TOKEN, DOMAIN));
            assertTrue(System.nanoTime() - start >= Duration.ofMillis(175).toNanos());
            assertEquals(List.of(4, 0, 0), List.of(ready.calls(), one.calls(), two.calls()));
        }
    }

    @Test
    void callsWithAShortDeadlineNoticeThatAReplicaHangs() throws Exception {
        try (var hanging = new FakeReplica();
                var one = new FakeReplica();
                var two = new FakeReplica();
                var client = ready(patient(hanging, one, two))) {
            for (int i = 0; i < 30; i++) { // so that nothing is slow for being new
                client.authorize(TOKEN, DOMAIN);
            }
            hanging.hang();
            int before = hanging.calls();
            for (int i = 0; i < 30; i++) {
                client.authorize(TOKEN, DOMAIN, Duration.ofMillis(100));
            }
            assertEquals(before + 1, hanging.calls());
        }
    }

    @Test
    void anAttemptCutShortByTheDeadlineSaysNothingAboutTheReplica() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica).attemptTimeout(Duration.ofMillis(200)))) {
            replica.answerBy(
                    request -> {
                        if (replica.calls() > 2) {
                            return null;
                        }
                        LockSupport.parkNanos(Duration.ofMillis(100).toNanos());
                        return Status.Code.UNAVAILABLE;
                    });
            Duration deadline = Duration.ofMillis(400);
            assertThrows(
                    UnavailableException.class, () -> client.authorize(TOKEN, DOMAIN, deadline));
            assertEquals(3, replica.calls());
            assertTrue(client.toString().contains("1 of 1"), client.toString());
        }
    }

    @Test
    void theDeadlineHoldsWhenCallersHoldUpAllThreads() throws Exception {
        var held = new CountDownLatch(1);
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.hang();
            List<CompletableFuture<Decision>> inFlight = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                inFlight.add(client.authorizeAsync(TOKEN, DOMAIN));
            }
            // These wait for their turn, and end in a timer's thread.
            for (int i = 0; i < 10; i++) {
                var unused =
                        client.authorizeAsync(TOKEN, DOMAIN, Duration.ofMillis(50))
                                .whenComplete((answer, error) -> awaitUnchecked(held));
            }
            Duration deadline = Duration.ofMillis(500);
            Executable asks = () -> client.authorize(TOKEN, DOMAIN, deadline);
            Duration limit = Duration.ofSeconds(2);
            assertTimeoutPreemptively(limit, () -> assertThrows(UnavailableException.class, asks));
            held.countDown();
            inFlight.forEach(call -> call.cancel(true));
        } finally {
            held.countDown();
        }
    }

    private static void awaitUnchecked(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Test
    void theContextOfACallerDoesNotEndWhatOthersNeed() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica).attemptTimeout(Duration.ofMillis(300)))) {
            var context = Context.current().withCancellation();
            Iterator<Object> answers =
                    Arrays.<Object>asList(null, FakeReplica.GRANT, FakeReplica.GRANT).iterator();
            replica.answerBy(request -> answers.next());
            assertInstanceOf(
                    Decision.Allowed.class, context.call(() -> client.authorize(TOKEN, DOMAIN)));
            eventually(() -> client.toString().contains("1 of 1"));
            assertEquals(2, replica.watches());
            context.cancel(null);
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, DOMAIN));
            assertEquals(2, replica.watches());
        }
    }

    @Test
    void theDeadlineHoldsWhenAllHang() throws Exception {
        try (var one = new FakeReplica();
                var two = new FakeReplica();
                var client = ready(patient(one, two).attemptTimeout(Duration.ofMillis(200)))) {
            one.hang();
            two.hang();
            long start = System.nanoTime();
            assertThrows(
                    UnavailableException.class,
                    () -> client.authorize(TOKEN, DOMAIN, Duration.ofMillis(500)));
            long millis = (System.nanoTime() - start) / 1_000_000;
            assertTrue(millis >= 450 && millis < 1000, millis + " ms");
        }
    }

    @Test
    void theDeadlineHoldsWhileNoAddressIsKnown() throws Exception {
        try (var client =
                KeyServiceClient.builder().addresses("nowhere.invalid:1").plaintext().open()) {
            long start = System.nanoTime();
            var error =
                    assertThrows(
                            UnavailableException.class,
                            () -> client.authorize(TOKEN, DOMAIN, Duration.ofMillis(300)));
            long millis = (System.nanoTime() - start) / 1_000_000;
            assertTrue(millis < 1000, millis + " ms");
            assertTrue(error.getMessage().contains("no address is known"), error.getMessage());
        }
    }

    @Test
    void aCancelledFutureEndsTheCall() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.hang();
            CompletableFuture<Decision> decision = client.authorizeAsync(TOKEN, DOMAIN);
            eventually(() -> replica.calls() == 1);
            decision.cancel(true);
            eventually(() -> replica.cancelled() == 1);
            assertThrows(CancellationException.class, decision::join);
            assertEquals(1, replica.calls());
            assertTrue(client.toString().contains("1 of 1"), "a hang of the replica's");
        }
    }

    @Test
    void anInterruptedThreadEndsTheCall() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.hang();
            AtomicReference<Throwable> end = new AtomicReference<>();
            Thread thread =
                    new Thread(
                            () ->
                                    end.set(
                                            assertThrows(
                                                    Throwable.class,
                                                    () -> client.authorize(TOKEN, DOMAIN))));
            thread.start();
            eventually(() -> replica.calls() == 1);
            thread.interrupt();
            thread.join();
            assertInstanceOf(InterruptedException.class, end.get());
            eventually(() -> replica.cancelled() == 1);
        }
    }

    @Test
    void closeLetsCallsFinishAndThenRefusesThem() throws Exception {
        try (var replica = new FakeReplica()) {
            var client = ready(patient(replica));
            CountDownLatch answering = new CountDownLatch(1);
            replica.answerBy(
                    request -> {
                        try {
                            answering.await();
                            return FakeReplica.GRANT;
                        } catch (InterruptedException e) {
                            return Status.Code.INTERNAL;
                        }
                    });
            CompletableFuture<Decision> decision = client.authorizeAsync(TOKEN, DOMAIN);
            Thread closing = new Thread(client::close);
            closing.start();
            eventually(() -> closing.getState() == Thread.State.WAITING);
            assertThrows(IllegalStateException.class, () -> client.authorize(TOKEN, DOMAIN));
            answering.countDown();
            closing.join();
            assertInstanceOf(Decision.Allowed.class, decision.getNow(null));
            client.close();
        }
    }

    @Test
    void anErrorHasTheTraceOfItsCaller() throws Exception {
        try (var replica = new FakeReplica();
                var client = ready(patient(replica))) {
            replica.answer(Status.Code.INVALID_ARGUMENT);
            var error = assertThrows(MisusedException.class, () -> client.authorize(TOKEN, DOMAIN));
            assertTrue(List.of(error.getStackTrace()).toString().contains("anErrorHasTheTrace"));
            var async =
                    assertThrows(
                            ExecutionException.class,
                            () -> client.authorizeAsync(TOKEN, DOMAIN).get());
            assertInstanceOf(MisusedException.class, async.getCause());
        }
    }
}
