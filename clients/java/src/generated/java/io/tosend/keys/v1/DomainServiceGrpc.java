package io.tosend.keys.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Keeps the list of the domains that each account may send for. Whatever its
 * scope, a key is granted only for a domain that is verified for its account.
 * The platform verifies domains, usually by DNS records, and then calls
 * AddDomain. This service does not look at the DNS.
 * When AddDomain or RemoveDomain returns OK, the change is durable, and every
 * replica answers Authorize by it from then on. To ensure this, both calls wait
 * for every replica, as Create and Revoke do.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class DomainServiceGrpc {

  private DomainServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tosend.keys.v1.DomainService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.AddDomainRequest,
      io.tosend.keys.v1.AddDomainResponse> getAddDomainMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "AddDomain",
      requestType = io.tosend.keys.v1.AddDomainRequest.class,
      responseType = io.tosend.keys.v1.AddDomainResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.AddDomainRequest,
      io.tosend.keys.v1.AddDomainResponse> getAddDomainMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.AddDomainRequest, io.tosend.keys.v1.AddDomainResponse> getAddDomainMethod;
    if ((getAddDomainMethod = DomainServiceGrpc.getAddDomainMethod) == null) {
      synchronized (DomainServiceGrpc.class) {
        if ((getAddDomainMethod = DomainServiceGrpc.getAddDomainMethod) == null) {
          DomainServiceGrpc.getAddDomainMethod = getAddDomainMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.AddDomainRequest, io.tosend.keys.v1.AddDomainResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "AddDomain"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.AddDomainRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.AddDomainResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DomainServiceMethodDescriptorSupplier("AddDomain"))
              .build();
        }
      }
    }
    return getAddDomainMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.RemoveDomainRequest,
      io.tosend.keys.v1.RemoveDomainResponse> getRemoveDomainMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RemoveDomain",
      requestType = io.tosend.keys.v1.RemoveDomainRequest.class,
      responseType = io.tosend.keys.v1.RemoveDomainResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.RemoveDomainRequest,
      io.tosend.keys.v1.RemoveDomainResponse> getRemoveDomainMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.RemoveDomainRequest, io.tosend.keys.v1.RemoveDomainResponse> getRemoveDomainMethod;
    if ((getRemoveDomainMethod = DomainServiceGrpc.getRemoveDomainMethod) == null) {
      synchronized (DomainServiceGrpc.class) {
        if ((getRemoveDomainMethod = DomainServiceGrpc.getRemoveDomainMethod) == null) {
          DomainServiceGrpc.getRemoveDomainMethod = getRemoveDomainMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.RemoveDomainRequest, io.tosend.keys.v1.RemoveDomainResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RemoveDomain"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.RemoveDomainRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.RemoveDomainResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DomainServiceMethodDescriptorSupplier("RemoveDomain"))
              .build();
        }
      }
    }
    return getRemoveDomainMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.ListDomainsRequest,
      io.tosend.keys.v1.ListDomainsResponse> getListDomainsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListDomains",
      requestType = io.tosend.keys.v1.ListDomainsRequest.class,
      responseType = io.tosend.keys.v1.ListDomainsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.ListDomainsRequest,
      io.tosend.keys.v1.ListDomainsResponse> getListDomainsMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.ListDomainsRequest, io.tosend.keys.v1.ListDomainsResponse> getListDomainsMethod;
    if ((getListDomainsMethod = DomainServiceGrpc.getListDomainsMethod) == null) {
      synchronized (DomainServiceGrpc.class) {
        if ((getListDomainsMethod = DomainServiceGrpc.getListDomainsMethod) == null) {
          DomainServiceGrpc.getListDomainsMethod = getListDomainsMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.ListDomainsRequest, io.tosend.keys.v1.ListDomainsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListDomains"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.ListDomainsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.ListDomainsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DomainServiceMethodDescriptorSupplier("ListDomains"))
              .build();
        }
      }
    }
    return getListDomainsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static DomainServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DomainServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DomainServiceStub>() {
        @java.lang.Override
        public DomainServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DomainServiceStub(channel, callOptions);
        }
      };
    return DomainServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static DomainServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DomainServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DomainServiceBlockingV2Stub>() {
        @java.lang.Override
        public DomainServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DomainServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return DomainServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static DomainServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DomainServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DomainServiceBlockingStub>() {
        @java.lang.Override
        public DomainServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DomainServiceBlockingStub(channel, callOptions);
        }
      };
    return DomainServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static DomainServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DomainServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DomainServiceFutureStub>() {
        @java.lang.Override
        public DomainServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DomainServiceFutureStub(channel, callOptions);
        }
      };
    return DomainServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Keeps the list of the domains that each account may send for. Whatever its
   * scope, a key is granted only for a domain that is verified for its account.
   * The platform verifies domains, usually by DNS records, and then calls
   * AddDomain. This service does not look at the DNS.
   * When AddDomain or RemoveDomain returns OK, the change is durable, and every
   * replica answers Authorize by it from then on. To ensure this, both calls wait
   * for every replica, as Create and Revoke do.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Says that the platform has verified a domain for an account. Adding a domain
     * that the account has succeeds: it keeps its times, and include_subdomains
     * becomes what this call says.
     * Errors: INVALID_ARGUMENT, also for a public suffix such as `co.uk`, below
     * which anyone may register a domain; UNAVAILABLE; INTERNAL;
     * DEADLINE_EXCEEDED.
     * </pre>
     */
    default void addDomain(io.tosend.keys.v1.AddDomainRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.AddDomainResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getAddDomainMethod(), responseObserver);
    }

    /**
     * <pre>
     * Takes a domain from an account. From when this returns OK, no key of the
     * account is granted for the domain, or for a name below it, unless another
     * domain of the account verifies that name: a domain above it that was added
     * with include_subdomains still does, and still_verified_by names it. Keys that
     * are restricted to the domain stay, and are denied as DOMAIN_NOT_VERIFIED until
     * the domain is added again. Removing a domain that was removed before succeeds.
     * Errors: INVALID_ARGUMENT; NOT_FOUND if the account has never had the domain;
     * UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    default void removeDomain(io.tosend.keys.v1.RemoveDomainRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.RemoveDomainResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRemoveDomainMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists an account's verified domains, in alphabetical order.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    default void listDomains(io.tosend.keys.v1.ListDomainsRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.ListDomainsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListDomainsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service DomainService.
   * <pre>
   * Keeps the list of the domains that each account may send for. Whatever its
   * scope, a key is granted only for a domain that is verified for its account.
   * The platform verifies domains, usually by DNS records, and then calls
   * AddDomain. This service does not look at the DNS.
   * When AddDomain or RemoveDomain returns OK, the change is durable, and every
   * replica answers Authorize by it from then on. To ensure this, both calls wait
   * for every replica, as Create and Revoke do.
   * </pre>
   */
  public static abstract class DomainServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return DomainServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service DomainService.
   * <pre>
   * Keeps the list of the domains that each account may send for. Whatever its
   * scope, a key is granted only for a domain that is verified for its account.
   * The platform verifies domains, usually by DNS records, and then calls
   * AddDomain. This service does not look at the DNS.
   * When AddDomain or RemoveDomain returns OK, the change is durable, and every
   * replica answers Authorize by it from then on. To ensure this, both calls wait
   * for every replica, as Create and Revoke do.
   * </pre>
   */
  public static final class DomainServiceStub
      extends io.grpc.stub.AbstractAsyncStub<DomainServiceStub> {
    private DomainServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DomainServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DomainServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Says that the platform has verified a domain for an account. Adding a domain
     * that the account has succeeds: it keeps its times, and include_subdomains
     * becomes what this call says.
     * Errors: INVALID_ARGUMENT, also for a public suffix such as `co.uk`, below
     * which anyone may register a domain; UNAVAILABLE; INTERNAL;
     * DEADLINE_EXCEEDED.
     * </pre>
     */
    public void addDomain(io.tosend.keys.v1.AddDomainRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.AddDomainResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getAddDomainMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Takes a domain from an account. From when this returns OK, no key of the
     * account is granted for the domain, or for a name below it, unless another
     * domain of the account verifies that name: a domain above it that was added
     * with include_subdomains still does, and still_verified_by names it. Keys that
     * are restricted to the domain stay, and are denied as DOMAIN_NOT_VERIFIED until
     * the domain is added again. Removing a domain that was removed before succeeds.
     * Errors: INVALID_ARGUMENT; NOT_FOUND if the account has never had the domain;
     * UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public void removeDomain(io.tosend.keys.v1.RemoveDomainRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.RemoveDomainResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRemoveDomainMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists an account's verified domains, in alphabetical order.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    public void listDomains(io.tosend.keys.v1.ListDomainsRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.ListDomainsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListDomainsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service DomainService.
   * <pre>
   * Keeps the list of the domains that each account may send for. Whatever its
   * scope, a key is granted only for a domain that is verified for its account.
   * The platform verifies domains, usually by DNS records, and then calls
   * AddDomain. This service does not look at the DNS.
   * When AddDomain or RemoveDomain returns OK, the change is durable, and every
   * replica answers Authorize by it from then on. To ensure this, both calls wait
   * for every replica, as Create and Revoke do.
   * </pre>
   */
  public static final class DomainServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<DomainServiceBlockingV2Stub> {
    private DomainServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DomainServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DomainServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Says that the platform has verified a domain for an account. Adding a domain
     * that the account has succeeds: it keeps its times, and include_subdomains
     * becomes what this call says.
     * Errors: INVALID_ARGUMENT, also for a public suffix such as `co.uk`, below
     * which anyone may register a domain; UNAVAILABLE; INTERNAL;
     * DEADLINE_EXCEEDED.
     * </pre>
     */
    public io.tosend.keys.v1.AddDomainResponse addDomain(io.tosend.keys.v1.AddDomainRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getAddDomainMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes a domain from an account. From when this returns OK, no key of the
     * account is granted for the domain, or for a name below it, unless another
     * domain of the account verifies that name: a domain above it that was added
     * with include_subdomains still does, and still_verified_by names it. Keys that
     * are restricted to the domain stay, and are denied as DOMAIN_NOT_VERIFIED until
     * the domain is added again. Removing a domain that was removed before succeeds.
     * Errors: INVALID_ARGUMENT; NOT_FOUND if the account has never had the domain;
     * UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public io.tosend.keys.v1.RemoveDomainResponse removeDomain(io.tosend.keys.v1.RemoveDomainRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRemoveDomainMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists an account's verified domains, in alphabetical order.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    public io.tosend.keys.v1.ListDomainsResponse listDomains(io.tosend.keys.v1.ListDomainsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListDomainsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service DomainService.
   * <pre>
   * Keeps the list of the domains that each account may send for. Whatever its
   * scope, a key is granted only for a domain that is verified for its account.
   * The platform verifies domains, usually by DNS records, and then calls
   * AddDomain. This service does not look at the DNS.
   * When AddDomain or RemoveDomain returns OK, the change is durable, and every
   * replica answers Authorize by it from then on. To ensure this, both calls wait
   * for every replica, as Create and Revoke do.
   * </pre>
   */
  public static final class DomainServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<DomainServiceBlockingStub> {
    private DomainServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DomainServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DomainServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Says that the platform has verified a domain for an account. Adding a domain
     * that the account has succeeds: it keeps its times, and include_subdomains
     * becomes what this call says.
     * Errors: INVALID_ARGUMENT, also for a public suffix such as `co.uk`, below
     * which anyone may register a domain; UNAVAILABLE; INTERNAL;
     * DEADLINE_EXCEEDED.
     * </pre>
     */
    public io.tosend.keys.v1.AddDomainResponse addDomain(io.tosend.keys.v1.AddDomainRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getAddDomainMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Takes a domain from an account. From when this returns OK, no key of the
     * account is granted for the domain, or for a name below it, unless another
     * domain of the account verifies that name: a domain above it that was added
     * with include_subdomains still does, and still_verified_by names it. Keys that
     * are restricted to the domain stay, and are denied as DOMAIN_NOT_VERIFIED until
     * the domain is added again. Removing a domain that was removed before succeeds.
     * Errors: INVALID_ARGUMENT; NOT_FOUND if the account has never had the domain;
     * UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public io.tosend.keys.v1.RemoveDomainResponse removeDomain(io.tosend.keys.v1.RemoveDomainRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRemoveDomainMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists an account's verified domains, in alphabetical order.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    public io.tosend.keys.v1.ListDomainsResponse listDomains(io.tosend.keys.v1.ListDomainsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListDomainsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service DomainService.
   * <pre>
   * Keeps the list of the domains that each account may send for. Whatever its
   * scope, a key is granted only for a domain that is verified for its account.
   * The platform verifies domains, usually by DNS records, and then calls
   * AddDomain. This service does not look at the DNS.
   * When AddDomain or RemoveDomain returns OK, the change is durable, and every
   * replica answers Authorize by it from then on. To ensure this, both calls wait
   * for every replica, as Create and Revoke do.
   * </pre>
   */
  public static final class DomainServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<DomainServiceFutureStub> {
    private DomainServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DomainServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DomainServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Says that the platform has verified a domain for an account. Adding a domain
     * that the account has succeeds: it keeps its times, and include_subdomains
     * becomes what this call says.
     * Errors: INVALID_ARGUMENT, also for a public suffix such as `co.uk`, below
     * which anyone may register a domain; UNAVAILABLE; INTERNAL;
     * DEADLINE_EXCEEDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.AddDomainResponse> addDomain(
        io.tosend.keys.v1.AddDomainRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getAddDomainMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Takes a domain from an account. From when this returns OK, no key of the
     * account is granted for the domain, or for a name below it, unless another
     * domain of the account verifies that name: a domain above it that was added
     * with include_subdomains still does, and still_verified_by names it. Keys that
     * are restricted to the domain stay, and are denied as DOMAIN_NOT_VERIFIED until
     * the domain is added again. Removing a domain that was removed before succeeds.
     * Errors: INVALID_ARGUMENT; NOT_FOUND if the account has never had the domain;
     * UNAVAILABLE; INTERNAL; DEADLINE_EXCEEDED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.RemoveDomainResponse> removeDomain(
        io.tosend.keys.v1.RemoveDomainRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRemoveDomainMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists an account's verified domains, in alphabetical order.
     * Errors: INVALID_ARGUMENT; UNAVAILABLE; INTERNAL.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.ListDomainsResponse> listDomains(
        io.tosend.keys.v1.ListDomainsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListDomainsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_ADD_DOMAIN = 0;
  private static final int METHODID_REMOVE_DOMAIN = 1;
  private static final int METHODID_LIST_DOMAINS = 2;

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
        case METHODID_ADD_DOMAIN:
          serviceImpl.addDomain((io.tosend.keys.v1.AddDomainRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.AddDomainResponse>) responseObserver);
          break;
        case METHODID_REMOVE_DOMAIN:
          serviceImpl.removeDomain((io.tosend.keys.v1.RemoveDomainRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.RemoveDomainResponse>) responseObserver);
          break;
        case METHODID_LIST_DOMAINS:
          serviceImpl.listDomains((io.tosend.keys.v1.ListDomainsRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.ListDomainsResponse>) responseObserver);
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
          getAddDomainMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.AddDomainRequest,
              io.tosend.keys.v1.AddDomainResponse>(
                service, METHODID_ADD_DOMAIN)))
        .addMethod(
          getRemoveDomainMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.RemoveDomainRequest,
              io.tosend.keys.v1.RemoveDomainResponse>(
                service, METHODID_REMOVE_DOMAIN)))
        .addMethod(
          getListDomainsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.ListDomainsRequest,
              io.tosend.keys.v1.ListDomainsResponse>(
                service, METHODID_LIST_DOMAINS)))
        .build();
  }

  private static abstract class DomainServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    DomainServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return io.tosend.keys.v1.DomainServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("DomainService");
    }
  }

  private static final class DomainServiceFileDescriptorSupplier
      extends DomainServiceBaseDescriptorSupplier {
    DomainServiceFileDescriptorSupplier() {}
  }

  private static final class DomainServiceMethodDescriptorSupplier
      extends DomainServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    DomainServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (DomainServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new DomainServiceFileDescriptorSupplier())
              .addMethod(getAddDomainMethod())
              .addMethod(getRemoveDomainMethod())
              .addMethod(getListDomainsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
