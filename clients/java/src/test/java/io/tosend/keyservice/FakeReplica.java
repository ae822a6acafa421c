package io.tosend.keyservice;

import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import io.tosend.keys.v1.AllDomains;
import io.tosend.keys.v1.AuthorizeRequest;
import io.tosend.keys.v1.AuthorizeResponse;
import io.tosend.keys.v1.CreateRequest;
import io.tosend.keys.v1.CreateResponse;
import io.tosend.keys.v1.Denial;
import io.tosend.keys.v1.Grant;
import io.tosend.keys.v1.KeyServiceGrpc;
import io.tosend.keys.v1.RevokeRequest;
import io.tosend.keys.v1.RevokeResponse;
import io.tosend.keys.v1.Scope;

import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;

/**
 * A replica on a real socket that does what a test tells it. It grants, until it is told otherwise.
 */
final class FakeReplica implements AutoCloseable {
    static final AuthorizeResponse GRANT =
            AuthorizeResponse.newBuilder()
                    .setGranted(true)
                    .setGrant(
                            Grant.newBuilder()
                                    .setKeyId("key_1")
                                    .setAccountId("acme")
                                    .setScope(
                                            Scope.newBuilder()
                                                    .setAllDomains(
                                                            AllDomains.getDefaultInstance())))
                    .build();

    /** A function that does not answer. */
    static final Function<Object, Object> HANGS = request -> null;

    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final AtomicInteger calls = new AtomicInteger();
    private final AtomicInteger cancelled = new AtomicInteger();
    private final AtomicInteger watches = new AtomicInteger();
    private final List<Object> requests = new CopyOnWriteArrayList<>();
    private final Set<StreamObserver<HealthCheckResponse>> watchers = new HashSet<>();
    private ServingStatus health = ServingStatus.SERVING;

    /** Gives the answer: a message, an exception, or null for none. */
    private volatile Function<Object, Object> answers = request -> GRANT;

    private volatile Metadata headers = new Metadata();
    private Server server;

    FakeReplica() throws IOException {
        this(InsecureServerCredentials.create(), 0);
    }

    FakeReplica(ServerCredentials credentials, int port) throws IOException {
        server =
                Grpc.newServerBuilderForPort(port, credentials)
                        .addService(new Keys())
                        .addService(new Health())
                        .intercept(new Headers())
                        .build()
                        .start();
    }

    static AuthorizeResponse denial(int reason) {
        return AuthorizeResponse.newBuilder()
                .setDenial(Denial.newBuilder().setReasonValue(reason))
                .build();
    }

    int port() {
        return server.getPort();
    }

    String address() {
        return "127.0.0.1:" + port();
    }

    void answer(Object answer) {
        answers = request -> answer;
    }

    void answerBy(Function<Object, Object> answers) {
        this.answers = answers;
    }

    /** Answers neither calls nor new watches from now on, as a stopped process. */
    void hang() {
        answers = HANGS;
        setHealth(null);
    }

    void resume() {
        answers = request -> GRANT;
        setHealth(ServingStatus.SERVING);
    }

    /** null: says nothing, and will not answer new watches. */
    synchronized void setHealth(ServingStatus status) {
        health = status;
        if (status != null) {
            watchers.forEach(watcher -> watcher.onNext(healthIs(status)));
        }
    }

    int calls() {
        return calls.get();
    }

    int cancelled() {
        return cancelled.get();
    }

    int watches() {
        return watches.get();
    }

    List<Object> requests() {
        return requests;
    }

    String authorization() {
        return headers.get(AUTHORIZATION);
    }

    String userAgent() {
        return headers.get(Metadata.Key.of("user-agent", Metadata.ASCII_STRING_MARSHALLER));
    }

    @Override
    public void close() throws InterruptedException {
        server.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }

    private static HealthCheckResponse healthIs(ServingStatus status) {
        return HealthCheckResponse.newBuilder().setStatus(status).build();
    }

    private final class Keys extends KeyServiceGrpc.KeyServiceImplBase {
        @Override
        public void authorize(AuthorizeRequest request, StreamObserver<AuthorizeResponse> to) {
            serve(request, to);
        }

        @Override
        public void create(CreateRequest request, StreamObserver<CreateResponse> to) {
            serve(request, to);
        }

        @Override
        public void revoke(RevokeRequest request, StreamObserver<RevokeResponse> to) {
            serve(request, to);
        }

        @SuppressWarnings("unchecked")
        private <A> void serve(Object request, StreamObserver<A> to) {
            requests.add(request);
            calls.incrementAndGet();
            Context.current()
                    .addListener(
                            context -> {
                                if (context.cancellationCause() != null) {
                                    cancelled.incrementAndGet();
                                }
                            },
                            Runnable::run);
            Object answer = answers.apply(request);
            if (answer instanceof Status.Code code) {
                to.onError(code.toStatus().withDescription("by test").asException());
            } else if (answer instanceof StatusRuntimeException error) {
                to.onError(error);
            } else if (answer instanceof com.google.rpc.Status status) {
                to.onError(StatusProto.toStatusRuntimeException(status));
            } else if (answer != null) {
                to.onNext((A) answer);
                to.onCompleted();
            }
        }
    }

    private final class Health extends HealthGrpc.HealthImplBase {
        @Override
        public void watch(HealthCheckRequest request, StreamObserver<HealthCheckResponse> to) {
            synchronized (FakeReplica.this) {
                watches.incrementAndGet();
                watchers.add(to);
                Context.current()
                        .addListener(
                                context -> {
                                    synchronized (FakeReplica.this) {
                                        watchers.remove(to);
                                    }
                                },
                                Runnable::run);
                if (health != null) {
                    to.onNext(healthIs(health));
                }
            }
        }
    }

    private final class Headers implements ServerInterceptor {
        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            if (call.getMethodDescriptor().getServiceName().equals(KeyServiceGrpc.SERVICE_NAME)) {
                FakeReplica.this.headers = headers;
            }
            return next.startCall(call, headers);
        }
    }
}
