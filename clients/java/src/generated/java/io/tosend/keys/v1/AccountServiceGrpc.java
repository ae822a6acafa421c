package io.tosend.keys.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Suspends whole accounts, and says what they have.
 * When SuspendAccount or ResumeAccount returns OK, the change is durable, and
 * every replica answers Authorize by it from then on.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class AccountServiceGrpc {

  private AccountServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tosend.keys.v1.AccountService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.SuspendAccountRequest,
      io.tosend.keys.v1.SuspendAccountResponse> getSuspendAccountMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "SuspendAccount",
      requestType = io.tosend.keys.v1.SuspendAccountRequest.class,
      responseType = io.tosend.keys.v1.SuspendAccountResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.SuspendAccountRequest,
      io.tosend.keys.v1.SuspendAccountResponse> getSuspendAccountMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.SuspendAccountRequest, io.tosend.keys.v1.SuspendAccountResponse> getSuspendAccountMethod;
    if ((getSuspendAccountMethod = AccountServiceGrpc.getSuspendAccountMethod) == null) {
      synchronized (AccountServiceGrpc.class) {
        if ((getSuspendAccountMethod = AccountServiceGrpc.getSuspendAccountMethod) == null) {
          AccountServiceGrpc.getSuspendAccountMethod = getSuspendAccountMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.SuspendAccountRequest, io.tosend.keys.v1.SuspendAccountResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "SuspendAccount"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.SuspendAccountRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.SuspendAccountResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AccountServiceMethodDescriptorSupplier("SuspendAccount"))
              .build();
        }
      }
    }
    return getSuspendAccountMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.ResumeAccountRequest,
      io.tosend.keys.v1.ResumeAccountResponse> getResumeAccountMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ResumeAccount",
      requestType = io.tosend.keys.v1.ResumeAccountRequest.class,
      responseType = io.tosend.keys.v1.ResumeAccountResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.ResumeAccountRequest,
      io.tosend.keys.v1.ResumeAccountResponse> getResumeAccountMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.ResumeAccountRequest, io.tosend.keys.v1.ResumeAccountResponse> getResumeAccountMethod;
    if ((getResumeAccountMethod = AccountServiceGrpc.getResumeAccountMethod) == null) {
      synchronized (AccountServiceGrpc.class) {
        if ((getResumeAccountMethod = AccountServiceGrpc.getResumeAccountMethod) == null) {
          AccountServiceGrpc.getResumeAccountMethod = getResumeAccountMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.ResumeAccountRequest, io.tosend.keys.v1.ResumeAccountResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ResumeAccount"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.ResumeAccountRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.ResumeAccountResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AccountServiceMethodDescriptorSupplier("ResumeAccount"))
              .build();
        }
      }
    }
    return getResumeAccountMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.GetAccountRequest,
      io.tosend.keys.v1.GetAccountResponse> getGetAccountMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetAccount",
      requestType = io.tosend.keys.v1.GetAccountRequest.class,
      responseType = io.tosend.keys.v1.GetAccountResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.GetAccountRequest,
      io.tosend.keys.v1.GetAccountResponse> getGetAccountMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.GetAccountRequest, io.tosend.keys.v1.GetAccountResponse> getGetAccountMethod;
    if ((getGetAccountMethod = AccountServiceGrpc.getGetAccountMethod) == null) {
      synchronized (AccountServiceGrpc.class) {
        if ((getGetAccountMethod = AccountServiceGrpc.getGetAccountMethod) == null) {
          AccountServiceGrpc.getGetAccountMethod = getGetAccountMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.GetAccountRequest, io.tosend.keys.v1.GetAccountResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetAccount"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.GetAccountRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.GetAccountResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AccountServiceMethodDescriptorSupplier("GetAccount"))
              .build();
        }
      }
    }
    return getGetAccountMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static AccountServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AccountServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AccountServiceStub>() {
        @java.lang.Override
        public AccountServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AccountServiceStub(channel, callOptions);
        }
      };
    return AccountServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static AccountServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AccountServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AccountServiceBlockingV2Stub>() {
        @java.lang.Override
        public AccountServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AccountServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return AccountServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static AccountServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AccountServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AccountServiceBlockingStub>() {
        @java.lang.Override
        public AccountServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AccountServiceBlockingStub(channel, callOptions);
        }
      };
    return AccountServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static AccountServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AccountServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AccountServiceFutureStub>() {
        @java.lang.Override
        public AccountServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AccountServiceFutureStub(channel, callOptions);
        }
      };
    return AccountServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Suspends whole accounts, and says what they have.
   * When SuspendAccount or ResumeAccount returns OK, the change is durable, and
   * every replica answers Authorize by it from then on.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Denies every key of an account, also those that are created meanwhile, until
     * the account is resumed. The keys keep their own status. The account need not
     * have keys. Suspending a suspended account succeeds, replaces the reason, and
     * keeps the time of the first suspension.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    default void suspendAccount(io.tosend.keys.v1.SuspendAccountRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.SuspendAccountResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSuspendAccountMethod(), responseObserver);
    }

    /**
     * <pre>
     * Ends an account's suspension. Keys that are suspended themselves stay so.
     * Resuming an account that is not suspended succeeds.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    default void resumeAccount(io.tosend.keys.v1.ResumeAccountRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.ResumeAccountResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getResumeAccountMethod(), responseObserver);
    }

    /**
     * <pre>
     * Says whether an account is suspended, and what it has. An account that this
     * service does not know has nothing.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    default void getAccount(io.tosend.keys.v1.GetAccountRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.GetAccountResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetAccountMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service AccountService.
   * <pre>
   * Suspends whole accounts, and says what they have.
   * When SuspendAccount or ResumeAccount returns OK, the change is durable, and
   * every replica answers Authorize by it from then on.
   * </pre>
   */
  public static abstract class AccountServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return AccountServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service AccountService.
   * <pre>
   * Suspends whole accounts, and says what they have.
   * When SuspendAccount or ResumeAccount returns OK, the change is durable, and
   * every replica answers Authorize by it from then on.
   * </pre>
   */
  public static final class AccountServiceStub
      extends io.grpc.stub.AbstractAsyncStub<AccountServiceStub> {
    private AccountServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AccountServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AccountServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Denies every key of an account, also those that are created meanwhile, until
     * the account is resumed. The keys keep their own status. The account need not
     * have keys. Suspending a suspended account succeeds, replaces the reason, and
     * keeps the time of the first suspension.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public void suspendAccount(io.tosend.keys.v1.SuspendAccountRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.SuspendAccountResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getSuspendAccountMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Ends an account's suspension. Keys that are suspended themselves stay so.
     * Resuming an account that is not suspended succeeds.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public void resumeAccount(io.tosend.keys.v1.ResumeAccountRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.ResumeAccountResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getResumeAccountMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Says whether an account is suspended, and what it has. An account that this
     * service does not know has nothing.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    public void getAccount(io.tosend.keys.v1.GetAccountRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.GetAccountResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetAccountMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service AccountService.
   * <pre>
   * Suspends whole accounts, and says what they have.
   * When SuspendAccount or ResumeAccount returns OK, the change is durable, and
   * every replica answers Authorize by it from then on.
   * </pre>
   */
  public static final class AccountServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<AccountServiceBlockingV2Stub> {
    private AccountServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AccountServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AccountServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Denies every key of an account, also those that are created meanwhile, until
     * the account is resumed. The keys keep their own status. The account need not
     * have keys. Suspending a suspended account succeeds, replaces the reason, and
     * keeps the time of the first suspension.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public io.tosend.keys.v1.SuspendAccountResponse suspendAccount(io.tosend.keys.v1.SuspendAccountRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getSuspendAccountMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends an account's suspension. Keys that are suspended themselves stay so.
     * Resuming an account that is not suspended succeeds.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public io.tosend.keys.v1.ResumeAccountResponse resumeAccount(io.tosend.keys.v1.ResumeAccountRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getResumeAccountMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Says whether an account is suspended, and what it has. An account that this
     * service does not know has nothing.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    public io.tosend.keys.v1.GetAccountResponse getAccount(io.tosend.keys.v1.GetAccountRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetAccountMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service AccountService.
   * <pre>
   * Suspends whole accounts, and says what they have.
   * When SuspendAccount or ResumeAccount returns OK, the change is durable, and
   * every replica answers Authorize by it from then on.
   * </pre>
   */
  public static final class AccountServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<AccountServiceBlockingStub> {
    private AccountServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AccountServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AccountServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Denies every key of an account, also those that are created meanwhile, until
     * the account is resumed. The keys keep their own status. The account need not
     * have keys. Suspending a suspended account succeeds, replaces the reason, and
     * keeps the time of the first suspension.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public io.tosend.keys.v1.SuspendAccountResponse suspendAccount(io.tosend.keys.v1.SuspendAccountRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getSuspendAccountMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends an account's suspension. Keys that are suspended themselves stay so.
     * Resuming an account that is not suspended succeeds.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public io.tosend.keys.v1.ResumeAccountResponse resumeAccount(io.tosend.keys.v1.ResumeAccountRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getResumeAccountMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Says whether an account is suspended, and what it has. An account that this
     * service does not know has nothing.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    public io.tosend.keys.v1.GetAccountResponse getAccount(io.tosend.keys.v1.GetAccountRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetAccountMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service AccountService.
   * <pre>
   * Suspends whole accounts, and says what they have.
   * When SuspendAccount or ResumeAccount returns OK, the change is durable, and
   * every replica answers Authorize by it from then on.
   * </pre>
   */
  public static final class AccountServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<AccountServiceFutureStub> {
    private AccountServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AccountServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AccountServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Denies every key of an account, also those that are created meanwhile, until
     * the account is resumed. The keys keep their own status. The account need not
     * have keys. Suspending a suspended account succeeds, replaces the reason, and
     * keeps the time of the first suspension.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.SuspendAccountResponse> suspendAccount(
        io.tosend.keys.v1.SuspendAccountRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getSuspendAccountMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Ends an account's suspension. Keys that are suspended themselves stay so.
     * Resuming an account that is not suspended succeeds.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.ResumeAccountResponse> resumeAccount(
        io.tosend.keys.v1.ResumeAccountRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getResumeAccountMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Says whether an account is suspended, and what it has. An account that this
     * service does not know has nothing.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.GetAccountResponse> getAccount(
        io.tosend.keys.v1.GetAccountRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetAccountMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_SUSPEND_ACCOUNT = 0;
  private static final int METHODID_RESUME_ACCOUNT = 1;
  private static final int METHODID_GET_ACCOUNT = 2;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_SUSPEND_ACCOUNT:
          serviceImpl.suspendAccount((io.tosend.keys.v1.SuspendAccountRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.SuspendAccountResponse>) responseObserver);
          break;
        case METHODID_RESUME_ACCOUNT:
          serviceImpl.resumeAccount((io.tosend.keys.v1.ResumeAccountRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.ResumeAccountResponse>) responseObserver);
          break;
        case METHODID_GET_ACCOUNT:
          serviceImpl.getAccount((io.tosend.keys.v1.GetAccountRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.GetAccountResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getSuspendAccountMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.SuspendAccountRequest,
              io.tosend.keys.v1.SuspendAccountResponse>(
                service, METHODID_SUSPEND_ACCOUNT)))
        .addMethod(
          getResumeAccountMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.ResumeAccountRequest,
              io.tosend.keys.v1.ResumeAccountResponse>(
                service, METHODID_RESUME_ACCOUNT)))
        .addMethod(
          getGetAccountMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.GetAccountRequest,
              io.tosend.keys.v1.GetAccountResponse>(
                service, METHODID_GET_ACCOUNT)))
        .build();
  }

  private static abstract class AccountServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    AccountServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return io.tosend.keys.v1.AccountServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("AccountService");
    }
  }

  private static final class AccountServiceFileDescriptorSupplier
      extends AccountServiceBaseDescriptorSupplier {
    AccountServiceFileDescriptorSupplier() {}
  }

  private static final class AccountServiceMethodDescriptorSupplier
      extends AccountServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    AccountServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (AccountServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new AccountServiceFileDescriptorSupplier())
              .addMethod(getSuspendAccountMethod())
              .addMethod(getResumeAccountMethod())
              .addMethod(getGetAccountMethod())
              .build();
        }
      }
    }
    return result;
  }
}
