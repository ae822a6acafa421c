package io.tosend.keys.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Keeps API keys, from their creation to their end, and decides whether a token
 * may send for a domain.
 * When a write (Create, Update, Rotate, Suspend, Resume, Revoke, BatchRevoke)
 * returns OK, the change is durable, and every replica answers Authorize by it
 * from then on. To
 * ensure this, a write waits for every replica: usually milliseconds, and at most
 * one lease (a setting, 2 seconds by default) when a replica has crashed or is cut
 * off. If the call's deadline passes first, the call gets DEADLINE_EXCEEDED. The
 * change is not undone.
 * Get, Update, Rotate, Suspend, Resume and Revoke have these errors: INVALID_ARGUMENT;
 * NOT_FOUND if the key does not exist, or belongs to another account than the
 * given one; UNAVAILABLE; INTERNAL. A write also has DEADLINE_EXCEEDED, and
 * FAILED_PRECONDITION if the key's status does not allow it: the reason in
 * google.rpc.ErrorInfo is KEY_REVOKED, or for a Rotate also KEY_EXPIRED,
 * KEY_SUSPENDED or KEY_ROTATED. Revoke is always allowed.
 * After UNAVAILABLE, INTERNAL or DEADLINE_EXCEEDED the key may or may not be
 * changed, and some replicas may still decide as before.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class KeyServiceGrpc {

  private KeyServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tosend.keys.v1.KeyService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.CreateRequest,
      io.tosend.keys.v1.CreateResponse> getCreateMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Create",
      requestType = io.tosend.keys.v1.CreateRequest.class,
      responseType = io.tosend.keys.v1.CreateResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.CreateRequest,
      io.tosend.keys.v1.CreateResponse> getCreateMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.CreateRequest, io.tosend.keys.v1.CreateResponse> getCreateMethod;
    if ((getCreateMethod = KeyServiceGrpc.getCreateMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getCreateMethod = KeyServiceGrpc.getCreateMethod) == null) {
          KeyServiceGrpc.getCreateMethod = getCreateMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.CreateRequest, io.tosend.keys.v1.CreateResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Create"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.CreateRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.CreateResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("Create"))
              .build();
        }
      }
    }
    return getCreateMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.ListRequest,
      io.tosend.keys.v1.ListResponse> getListMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "List",
      requestType = io.tosend.keys.v1.ListRequest.class,
      responseType = io.tosend.keys.v1.ListResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.ListRequest,
      io.tosend.keys.v1.ListResponse> getListMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.ListRequest, io.tosend.keys.v1.ListResponse> getListMethod;
    if ((getListMethod = KeyServiceGrpc.getListMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getListMethod = KeyServiceGrpc.getListMethod) == null) {
          KeyServiceGrpc.getListMethod = getListMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.ListRequest, io.tosend.keys.v1.ListResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "List"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.ListRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.ListResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("List"))
              .build();
        }
      }
    }
    return getListMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.GetRequest,
      io.tosend.keys.v1.GetResponse> getGetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Get",
      requestType = io.tosend.keys.v1.GetRequest.class,
      responseType = io.tosend.keys.v1.GetResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.GetRequest,
      io.tosend.keys.v1.GetResponse> getGetMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.GetRequest, io.tosend.keys.v1.GetResponse> getGetMethod;
    if ((getGetMethod = KeyServiceGrpc.getGetMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getGetMethod = KeyServiceGrpc.getGetMethod) == null) {
          KeyServiceGrpc.getGetMethod = getGetMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.GetRequest, io.tosend.keys.v1.GetResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Get"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.GetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.GetResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("Get"))
              .build();
        }
      }
    }
    return getGetMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.UpdateRequest,
      io.tosend.keys.v1.UpdateResponse> getUpdateMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Update",
      requestType = io.tosend.keys.v1.UpdateRequest.class,
      responseType = io.tosend.keys.v1.UpdateResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.UpdateRequest,
      io.tosend.keys.v1.UpdateResponse> getUpdateMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.UpdateRequest, io.tosend.keys.v1.UpdateResponse> getUpdateMethod;
    if ((getUpdateMethod = KeyServiceGrpc.getUpdateMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getUpdateMethod = KeyServiceGrpc.getUpdateMethod) == null) {
          KeyServiceGrpc.getUpdateMethod = getUpdateMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.UpdateRequest, io.tosend.keys.v1.UpdateResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Update"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.UpdateRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.UpdateResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("Update"))
              .build();
        }
      }
    }
    return getUpdateMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.RotateRequest,
      io.tosend.keys.v1.RotateResponse> getRotateMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Rotate",
      requestType = io.tosend.keys.v1.RotateRequest.class,
      responseType = io.tosend.keys.v1.RotateResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.RotateRequest,
      io.tosend.keys.v1.RotateResponse> getRotateMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.RotateRequest, io.tosend.keys.v1.RotateResponse> getRotateMethod;
    if ((getRotateMethod = KeyServiceGrpc.getRotateMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getRotateMethod = KeyServiceGrpc.getRotateMethod) == null) {
          KeyServiceGrpc.getRotateMethod = getRotateMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.RotateRequest, io.tosend.keys.v1.RotateResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Rotate"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.RotateRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.RotateResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("Rotate"))
              .build();
        }
      }
    }
    return getRotateMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.SuspendRequest,
      io.tosend.keys.v1.SuspendResponse> getSuspendMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Suspend",
      requestType = io.tosend.keys.v1.SuspendRequest.class,
      responseType = io.tosend.keys.v1.SuspendResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.SuspendRequest,
      io.tosend.keys.v1.SuspendResponse> getSuspendMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.SuspendRequest, io.tosend.keys.v1.SuspendResponse> getSuspendMethod;
    if ((getSuspendMethod = KeyServiceGrpc.getSuspendMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getSuspendMethod = KeyServiceGrpc.getSuspendMethod) == null) {
          KeyServiceGrpc.getSuspendMethod = getSuspendMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.SuspendRequest, io.tosend.keys.v1.SuspendResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Suspend"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.SuspendRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.SuspendResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("Suspend"))
              .build();
        }
      }
    }
    return getSuspendMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.ResumeRequest,
      io.tosend.keys.v1.ResumeResponse> getResumeMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Resume",
      requestType = io.tosend.keys.v1.ResumeRequest.class,
      responseType = io.tosend.keys.v1.ResumeResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.ResumeRequest,
      io.tosend.keys.v1.ResumeResponse> getResumeMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.ResumeRequest, io.tosend.keys.v1.ResumeResponse> getResumeMethod;
    if ((getResumeMethod = KeyServiceGrpc.getResumeMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getResumeMethod = KeyServiceGrpc.getResumeMethod) == null) {
          KeyServiceGrpc.getResumeMethod = getResumeMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.ResumeRequest, io.tosend.keys.v1.ResumeResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Resume"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.ResumeRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.ResumeResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("Resume"))
              .build();
        }
      }
    }
    return getResumeMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.RevokeRequest,
      io.tosend.keys.v1.RevokeResponse> getRevokeMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Revoke",
      requestType = io.tosend.keys.v1.RevokeRequest.class,
      responseType = io.tosend.keys.v1.RevokeResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.RevokeRequest,
      io.tosend.keys.v1.RevokeResponse> getRevokeMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.RevokeRequest, io.tosend.keys.v1.RevokeResponse> getRevokeMethod;
    if ((getRevokeMethod = KeyServiceGrpc.getRevokeMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getRevokeMethod = KeyServiceGrpc.getRevokeMethod) == null) {
          KeyServiceGrpc.getRevokeMethod = getRevokeMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.RevokeRequest, io.tosend.keys.v1.RevokeResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Revoke"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.RevokeRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.RevokeResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("Revoke"))
              .build();
        }
      }
    }
    return getRevokeMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.BatchRevokeRequest,
      io.tosend.keys.v1.BatchRevokeResponse> getBatchRevokeMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "BatchRevoke",
      requestType = io.tosend.keys.v1.BatchRevokeRequest.class,
      responseType = io.tosend.keys.v1.BatchRevokeResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.BatchRevokeRequest,
      io.tosend.keys.v1.BatchRevokeResponse> getBatchRevokeMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.BatchRevokeRequest, io.tosend.keys.v1.BatchRevokeResponse> getBatchRevokeMethod;
    if ((getBatchRevokeMethod = KeyServiceGrpc.getBatchRevokeMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getBatchRevokeMethod = KeyServiceGrpc.getBatchRevokeMethod) == null) {
          KeyServiceGrpc.getBatchRevokeMethod = getBatchRevokeMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.BatchRevokeRequest, io.tosend.keys.v1.BatchRevokeResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "BatchRevoke"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.BatchRevokeRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.BatchRevokeResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("BatchRevoke"))
              .build();
        }
      }
    }
    return getBatchRevokeMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.AuthorizeRequest,
      io.tosend.keys.v1.AuthorizeResponse> getAuthorizeMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Authorize",
      requestType = io.tosend.keys.v1.AuthorizeRequest.class,
      responseType = io.tosend.keys.v1.AuthorizeResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.AuthorizeRequest,
      io.tosend.keys.v1.AuthorizeResponse> getAuthorizeMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.AuthorizeRequest, io.tosend.keys.v1.AuthorizeResponse> getAuthorizeMethod;
    if ((getAuthorizeMethod = KeyServiceGrpc.getAuthorizeMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getAuthorizeMethod = KeyServiceGrpc.getAuthorizeMethod) == null) {
          KeyServiceGrpc.getAuthorizeMethod = getAuthorizeMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.AuthorizeRequest, io.tosend.keys.v1.AuthorizeResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Authorize"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.AuthorizeRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.AuthorizeResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("Authorize"))
              .build();
        }
      }
    }
    return getAuthorizeMethod;
  }

  private static volatile io.grpc.MethodDescriptor<io.tosend.keys.v1.AuthorizeStreamRequest,
      io.tosend.keys.v1.AuthorizeStreamResponse> getAuthorizeStreamMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "AuthorizeStream",
      requestType = io.tosend.keys.v1.AuthorizeStreamRequest.class,
      responseType = io.tosend.keys.v1.AuthorizeStreamResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.BIDI_STREAMING)
  public static io.grpc.MethodDescriptor<io.tosend.keys.v1.AuthorizeStreamRequest,
      io.tosend.keys.v1.AuthorizeStreamResponse> getAuthorizeStreamMethod() {
    io.grpc.MethodDescriptor<io.tosend.keys.v1.AuthorizeStreamRequest, io.tosend.keys.v1.AuthorizeStreamResponse> getAuthorizeStreamMethod;
    if ((getAuthorizeStreamMethod = KeyServiceGrpc.getAuthorizeStreamMethod) == null) {
      synchronized (KeyServiceGrpc.class) {
        if ((getAuthorizeStreamMethod = KeyServiceGrpc.getAuthorizeStreamMethod) == null) {
          KeyServiceGrpc.getAuthorizeStreamMethod = getAuthorizeStreamMethod =
              io.grpc.MethodDescriptor.<io.tosend.keys.v1.AuthorizeStreamRequest, io.tosend.keys.v1.AuthorizeStreamResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.BIDI_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "AuthorizeStream"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.AuthorizeStreamRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  io.tosend.keys.v1.AuthorizeStreamResponse.getDefaultInstance()))
              .setSchemaDescriptor(new KeyServiceMethodDescriptorSupplier("AuthorizeStream"))
              .build();
        }
      }
    }
    return getAuthorizeStreamMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static KeyServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyServiceStub>() {
        @java.lang.Override
        public KeyServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyServiceStub(channel, callOptions);
        }
      };
    return KeyServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static KeyServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyServiceBlockingV2Stub>() {
        @java.lang.Override
        public KeyServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return KeyServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static KeyServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyServiceBlockingStub>() {
        @java.lang.Override
        public KeyServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyServiceBlockingStub(channel, callOptions);
        }
      };
    return KeyServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static KeyServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<KeyServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<KeyServiceFutureStub>() {
        @java.lang.Override
        public KeyServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new KeyServiceFutureStub(channel, callOptions);
        }
      };
    return KeyServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Keeps API keys, from their creation to their end, and decides whether a token
   * may send for a domain.
   * When a write (Create, Update, Rotate, Suspend, Resume, Revoke, BatchRevoke)
   * returns OK, the change is durable, and every replica answers Authorize by it
   * from then on. To
   * ensure this, a write waits for every replica: usually milliseconds, and at most
   * one lease (a setting, 2 seconds by default) when a replica has crashed or is cut
   * off. If the call's deadline passes first, the call gets DEADLINE_EXCEEDED. The
   * change is not undone.
   * Get, Update, Rotate, Suspend, Resume and Revoke have these errors: INVALID_ARGUMENT;
   * NOT_FOUND if the key does not exist, or belongs to another account than the
   * given one; UNAVAILABLE; INTERNAL. A write also has DEADLINE_EXCEEDED, and
   * FAILED_PRECONDITION if the key's status does not allow it: the reason in
   * google.rpc.ErrorInfo is KEY_REVOKED, or for a Rotate also KEY_EXPIRED,
   * KEY_SUSPENDED or KEY_ROTATED. Revoke is always allowed.
   * After UNAVAILABLE, INTERNAL or DEADLINE_EXCEEDED the key may or may not be
   * changed, and some replicas may still decide as before.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Creates a key and returns its token. The token is in this response and
     * nowhere else: it can never be shown again.
     * Errors: INVALID_ARGUMENT; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED in google.rpc.ErrorInfo if the domain is not verified for
     * the account: call AddDomain first; ALREADY_EXISTS if this account has used the
     * request_id before (a google.rpc.ResourceInfo detail has the id of the key
     * that the first call created); UNAVAILABLE (STORE_UNAVAILABLE,
     * UNACKNOWLEDGED); INTERNAL; DEADLINE_EXCEEDED. After the last three, or when
     * the response is lost, the key may or may not exist. Call again with the same
     * request_id to find out: this never creates a second key. ALREADY_EXISTS, like
     * OK, is returned only when every replica knows the first key.
     * </pre>
     */
    default void create(io.tosend.keys.v1.CreateRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.CreateResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists an account's keys, newest first (by the order in which they were
     * stored). Revoked and expired keys stay in the list.
     * Filters are combined: a key is listed if it passes all of them. A page takes
     * a few milliseconds, however many keys there are. So it may hold fewer keys than
     * page_size, or none, although there are more: if few of the keys that pass one
     * filter pass the others, or with all_accounts and any filter but preview and
     * STATUS_SUSPENDED, or with name_prefix. The list ends only where next_page_token
     * is empty. A page holds 1 MB at most, which matters with many long labels.
     * Errors: INVALID_ARGUMENT; PERMISSION_DENIED; UNAVAILABLE (STORE_UNAVAILABLE);
     * INTERNAL.
     * </pre>
     */
    default void list(io.tosend.keys.v1.ListRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.ListResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListMethod(), responseObserver);
    }

    /**
     * <pre>
     * Gives one key, by its id or its token. If you find a token, this tells you
     * whose it is.
     * </pre>
     */
    default void get(io.tosend.keys.v1.GetRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.GetResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetMethod(), responseObserver);
    }

    /**
     * <pre>
     * Changes a key's name, its scope, its labels, or when it expires: all that
     * update_mask names, in one write. An expired key can be prolonged, and so can
     * one that was rotated. A suspended key stays suspended. A revoked key can only
     * be renamed and relabelled.
     * Errors: as above; ABORTED with the reason ETAG_MISMATCH if the key has changed
     * since the given etag was read; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED if the domain of the new scope is not verified for the
     * account.
     * </pre>
     */
    default void update(io.tosend.keys.v1.UpdateRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.UpdateResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUpdateMethod(), responseObserver);
    }

    /**
     * <pre>
     * Replaces a key by a successor with a new token. The successor has the same
     * account, name, scope and labels. The token is in this response and nowhere
     * else. The predecessor goes on working for the overlap, and then expires: give
     * the new token to its user within that time.
     * Both happen in one write. A key is rotated once: after that, the call is
     * FAILED_PRECONDITION with the reason KEY_ROTATED, and the message names the
     * successor. ALREADY_EXISTS if this account has used the request_id before, as
     * in Create. If the successor's token was lost, rotate the successor with an
     * overlap of 0.
     * </pre>
     */
    default void rotate(io.tosend.keys.v1.RotateRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.RotateResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRotateMethod(), responseObserver);
    }

    /**
     * <pre>
     * Suspends a key until it is resumed. Suspending a suspended key succeeds,
     * replaces the reason, and keeps the time of the first suspension.
     * </pre>
     */
    default void suspend(io.tosend.keys.v1.SuspendRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.SuspendResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSuspendMethod(), responseObserver);
    }

    /**
     * <pre>
     * Ends a key's suspension. Resuming a key that is not suspended succeeds. A
     * revoked key stays revoked (KEY_REVOKED), and a key whose account is suspended
     * stays denied until the account is resumed.
     * </pre>
     */
    default void resume(io.tosend.keys.v1.ResumeRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.ResumeResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getResumeMethod(), responseObserver);
    }

    /**
     * <pre>
     * Revokes a key permanently. Revoking a revoked key succeeds and returns the
     * time of the first revocation. After UNAVAILABLE, INTERNAL or
     * DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    default void revoke(io.tosend.keys.v1.RevokeRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.RevokeResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRevokeMethod(), responseObserver);
    }

    /**
     * <pre>
     * Revokes many keys: those of an account that a filter selects, or given ones.
     * When it returns OK, no replica grants any of them. Up to 10,000 keys a call.
     * With a filter that selects more, there_are_more is set: call again.
     * With a filter, the keys are those that exist when the call begins. They are
     * revoked in one transaction: all of them, or none. After UNAVAILABLE, INTERNAL
     * or DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    default void batchRevoke(io.tosend.keys.v1.BatchRevokeRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.BatchRevokeResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getBatchRevokeMethod(), responseObserver);
    }

    /**
     * <pre>
     * Decides whether a token may be used to send for a domain now. The answer
     * comes from memory, without a query to the database.
     * A denial is an answer, not an error: the status code is about the call,
     * never about the key.
     * Errors: INVALID_ARGUMENT if `domain` is not a domain name; UNAVAILABLE
     * (KEYRING_LOADING, LEASE_LAPSED) while this replica cannot prove that it knows
     * every key and every revocation. Ask another replica, or ask this one again
     * later.
     * </pre>
     */
    default void authorize(io.tosend.keys.v1.AuthorizeRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.AuthorizeResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getAuthorizeMethod(), responseObserver);
    }

    /**
     * <pre>
     * Decides as Authorize does, for many questions on one stream. It is for callers
     * that ask thousands of times a second: a question costs a tenth of a call.
     * Each question is decided after it was read, by what every replica must know
     * then, and by the rights that its caller has then. The answers come in the order
     * of the questions, and need not be waited for before the next question. Take
     * them as they come: while they are not taken, no more questions are read.
     * What is wrong with one question is its own answer: INVALID_ARGUMENT, UNAVAILABLE
     * (KEYRING_LOADING, LEASE_LAPSED), and UNAUTHENTICATED or PERMISSION_DENIED if the
     * caller has lost its rights. The stream goes on.
     * The server ends the stream with OK when it shuts down, and when its connection
     * has reached its greatest age, after it has answered every question that it has
     * read. Open another, and ask there what was not answered. Nothing else
     * ends it but the client, its deadline (DEADLINE_EXCEEDED), and what cannot be
     * read: INVALID_ARGUMENT for a message that cannot be decoded, RESOURCE_EXHAUSTED
     * for one of more than 4 KiB, CANCELLED for one that does not come to its end.
     * RESOURCE_EXHAUSTED before any answer: too many streams are open. Call Authorize
     * then.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<io.tosend.keys.v1.AuthorizeStreamRequest> authorizeStream(
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.AuthorizeStreamResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getAuthorizeStreamMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service KeyService.
   * <pre>
   * Keeps API keys, from their creation to their end, and decides whether a token
   * may send for a domain.
   * When a write (Create, Update, Rotate, Suspend, Resume, Revoke, BatchRevoke)
   * returns OK, the change is durable, and every replica answers Authorize by it
   * from then on. To
   * ensure this, a write waits for every replica: usually milliseconds, and at most
   * one lease (a setting, 2 seconds by default) when a replica has crashed or is cut
   * off. If the call's deadline passes first, the call gets DEADLINE_EXCEEDED. The
   * change is not undone.
   * Get, Update, Rotate, Suspend, Resume and Revoke have these errors: INVALID_ARGUMENT;
   * NOT_FOUND if the key does not exist, or belongs to another account than the
   * given one; UNAVAILABLE; INTERNAL. A write also has DEADLINE_EXCEEDED, and
   * FAILED_PRECONDITION if the key's status does not allow it: the reason in
   * google.rpc.ErrorInfo is KEY_REVOKED, or for a Rotate also KEY_EXPIRED,
   * KEY_SUSPENDED or KEY_ROTATED. Revoke is always allowed.
   * After UNAVAILABLE, INTERNAL or DEADLINE_EXCEEDED the key may or may not be
   * changed, and some replicas may still decide as before.
   * </pre>
   */
  public static abstract class KeyServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return KeyServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service KeyService.
   * <pre>
   * Keeps API keys, from their creation to their end, and decides whether a token
   * may send for a domain.
   * When a write (Create, Update, Rotate, Suspend, Resume, Revoke, BatchRevoke)
   * returns OK, the change is durable, and every replica answers Authorize by it
   * from then on. To
   * ensure this, a write waits for every replica: usually milliseconds, and at most
   * one lease (a setting, 2 seconds by default) when a replica has crashed or is cut
   * off. If the call's deadline passes first, the call gets DEADLINE_EXCEEDED. The
   * change is not undone.
   * Get, Update, Rotate, Suspend, Resume and Revoke have these errors: INVALID_ARGUMENT;
   * NOT_FOUND if the key does not exist, or belongs to another account than the
   * given one; UNAVAILABLE; INTERNAL. A write also has DEADLINE_EXCEEDED, and
   * FAILED_PRECONDITION if the key's status does not allow it: the reason in
   * google.rpc.ErrorInfo is KEY_REVOKED, or for a Rotate also KEY_EXPIRED,
   * KEY_SUSPENDED or KEY_ROTATED. Revoke is always allowed.
   * After UNAVAILABLE, INTERNAL or DEADLINE_EXCEEDED the key may or may not be
   * changed, and some replicas may still decide as before.
   * </pre>
   */
  public static final class KeyServiceStub
      extends io.grpc.stub.AbstractAsyncStub<KeyServiceStub> {
    private KeyServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a key and returns its token. The token is in this response and
     * nowhere else: it can never be shown again.
     * Errors: INVALID_ARGUMENT; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED in google.rpc.ErrorInfo if the domain is not verified for
     * the account: call AddDomain first; ALREADY_EXISTS if this account has used the
     * request_id before (a google.rpc.ResourceInfo detail has the id of the key
     * that the first call created); UNAVAILABLE (STORE_UNAVAILABLE,
     * UNACKNOWLEDGED); INTERNAL; DEADLINE_EXCEEDED. After the last three, or when
     * the response is lost, the key may or may not exist. Call again with the same
     * request_id to find out: this never creates a second key. ALREADY_EXISTS, like
     * OK, is returned only when every replica knows the first key.
     * </pre>
     */
    public void create(io.tosend.keys.v1.CreateRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.CreateResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists an account's keys, newest first (by the order in which they were
     * stored). Revoked and expired keys stay in the list.
     * Filters are combined: a key is listed if it passes all of them. A page takes
     * a few milliseconds, however many keys there are. So it may hold fewer keys than
     * page_size, or none, although there are more: if few of the keys that pass one
     * filter pass the others, or with all_accounts and any filter but preview and
     * STATUS_SUSPENDED, or with name_prefix. The list ends only where next_page_token
     * is empty. A page holds 1 MB at most, which matters with many long labels.
     * Errors: INVALID_ARGUMENT; PERMISSION_DENIED; UNAVAILABLE (STORE_UNAVAILABLE);
     * INTERNAL.
     * </pre>
     */
    public void list(io.tosend.keys.v1.ListRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.ListResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Gives one key, by its id or its token. If you find a token, this tells you
     * whose it is.
     * </pre>
     */
    public void get(io.tosend.keys.v1.GetRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.GetResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Changes a key's name, its scope, its labels, or when it expires: all that
     * update_mask names, in one write. An expired key can be prolonged, and so can
     * one that was rotated. A suspended key stays suspended. A revoked key can only
     * be renamed and relabelled.
     * Errors: as above; ABORTED with the reason ETAG_MISMATCH if the key has changed
     * since the given etag was read; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED if the domain of the new scope is not verified for the
     * account.
     * </pre>
     */
    public void update(io.tosend.keys.v1.UpdateRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.UpdateResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUpdateMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Replaces a key by a successor with a new token. The successor has the same
     * account, name, scope and labels. The token is in this response and nowhere
     * else. The predecessor goes on working for the overlap, and then expires: give
     * the new token to its user within that time.
     * Both happen in one write. A key is rotated once: after that, the call is
     * FAILED_PRECONDITION with the reason KEY_ROTATED, and the message names the
     * successor. ALREADY_EXISTS if this account has used the request_id before, as
     * in Create. If the successor's token was lost, rotate the successor with an
     * overlap of 0.
     * </pre>
     */
    public void rotate(io.tosend.keys.v1.RotateRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.RotateResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRotateMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Suspends a key until it is resumed. Suspending a suspended key succeeds,
     * replaces the reason, and keeps the time of the first suspension.
     * </pre>
     */
    public void suspend(io.tosend.keys.v1.SuspendRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.SuspendResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getSuspendMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Ends a key's suspension. Resuming a key that is not suspended succeeds. A
     * revoked key stays revoked (KEY_REVOKED), and a key whose account is suspended
     * stays denied until the account is resumed.
     * </pre>
     */
    public void resume(io.tosend.keys.v1.ResumeRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.ResumeResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getResumeMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Revokes a key permanently. Revoking a revoked key succeeds and returns the
     * time of the first revocation. After UNAVAILABLE, INTERNAL or
     * DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    public void revoke(io.tosend.keys.v1.RevokeRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.RevokeResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRevokeMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Revokes many keys: those of an account that a filter selects, or given ones.
     * When it returns OK, no replica grants any of them. Up to 10,000 keys a call.
     * With a filter that selects more, there_are_more is set: call again.
     * With a filter, the keys are those that exist when the call begins. They are
     * revoked in one transaction: all of them, or none. After UNAVAILABLE, INTERNAL
     * or DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    public void batchRevoke(io.tosend.keys.v1.BatchRevokeRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.BatchRevokeResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getBatchRevokeMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Decides whether a token may be used to send for a domain now. The answer
     * comes from memory, without a query to the database.
     * A denial is an answer, not an error: the status code is about the call,
     * never about the key.
     * Errors: INVALID_ARGUMENT if `domain` is not a domain name; UNAVAILABLE
     * (KEYRING_LOADING, LEASE_LAPSED) while this replica cannot prove that it knows
     * every key and every revocation. Ask another replica, or ask this one again
     * later.
     * </pre>
     */
    public void authorize(io.tosend.keys.v1.AuthorizeRequest request,
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.AuthorizeResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getAuthorizeMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Decides as Authorize does, for many questions on one stream. It is for callers
     * that ask thousands of times a second: a question costs a tenth of a call.
     * Each question is decided after it was read, by what every replica must know
     * then, and by the rights that its caller has then. The answers come in the order
     * of the questions, and need not be waited for before the next question. Take
     * them as they come: while they are not taken, no more questions are read.
     * What is wrong with one question is its own answer: INVALID_ARGUMENT, UNAVAILABLE
     * (KEYRING_LOADING, LEASE_LAPSED), and UNAUTHENTICATED or PERMISSION_DENIED if the
     * caller has lost its rights. The stream goes on.
     * The server ends the stream with OK when it shuts down, and when its connection
     * has reached its greatest age, after it has answered every question that it has
     * read. Open another, and ask there what was not answered. Nothing else
     * ends it but the client, its deadline (DEADLINE_EXCEEDED), and what cannot be
     * read: INVALID_ARGUMENT for a message that cannot be decoded, RESOURCE_EXHAUSTED
     * for one of more than 4 KiB, CANCELLED for one that does not come to its end.
     * RESOURCE_EXHAUSTED before any answer: too many streams are open. Call Authorize
     * then.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<io.tosend.keys.v1.AuthorizeStreamRequest> authorizeStream(
        io.grpc.stub.StreamObserver<io.tosend.keys.v1.AuthorizeStreamResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncBidiStreamingCall(
          getChannel().newCall(getAuthorizeStreamMethod(), getCallOptions()), responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service KeyService.
   * <pre>
   * Keeps API keys, from their creation to their end, and decides whether a token
   * may send for a domain.
   * When a write (Create, Update, Rotate, Suspend, Resume, Revoke, BatchRevoke)
   * returns OK, the change is durable, and every replica answers Authorize by it
   * from then on. To
   * ensure this, a write waits for every replica: usually milliseconds, and at most
   * one lease (a setting, 2 seconds by default) when a replica has crashed or is cut
   * off. If the call's deadline passes first, the call gets DEADLINE_EXCEEDED. The
   * change is not undone.
   * Get, Update, Rotate, Suspend, Resume and Revoke have these errors: INVALID_ARGUMENT;
   * NOT_FOUND if the key does not exist, or belongs to another account than the
   * given one; UNAVAILABLE; INTERNAL. A write also has DEADLINE_EXCEEDED, and
   * FAILED_PRECONDITION if the key's status does not allow it: the reason in
   * google.rpc.ErrorInfo is KEY_REVOKED, or for a Rotate also KEY_EXPIRED,
   * KEY_SUSPENDED or KEY_ROTATED. Revoke is always allowed.
   * After UNAVAILABLE, INTERNAL or DEADLINE_EXCEEDED the key may or may not be
   * changed, and some replicas may still decide as before.
   * </pre>
   */
  public static final class KeyServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<KeyServiceBlockingV2Stub> {
    private KeyServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a key and returns its token. The token is in this response and
     * nowhere else: it can never be shown again.
     * Errors: INVALID_ARGUMENT; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED in google.rpc.ErrorInfo if the domain is not verified for
     * the account: call AddDomain first; ALREADY_EXISTS if this account has used the
     * request_id before (a google.rpc.ResourceInfo detail has the id of the key
     * that the first call created); UNAVAILABLE (STORE_UNAVAILABLE,
     * UNACKNOWLEDGED); INTERNAL; DEADLINE_EXCEEDED. After the last three, or when
     * the response is lost, the key may or may not exist. Call again with the same
     * request_id to find out: this never creates a second key. ALREADY_EXISTS, like
     * OK, is returned only when every replica knows the first key.
     * </pre>
     */
    public io.tosend.keys.v1.CreateResponse create(io.tosend.keys.v1.CreateRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCreateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists an account's keys, newest first (by the order in which they were
     * stored). Revoked and expired keys stay in the list.
     * Filters are combined: a key is listed if it passes all of them. A page takes
     * a few milliseconds, however many keys there are. So it may hold fewer keys than
     * page_size, or none, although there are more: if few of the keys that pass one
     * filter pass the others, or with all_accounts and any filter but preview and
     * STATUS_SUSPENDED, or with name_prefix. The list ends only where next_page_token
     * is empty. A page holds 1 MB at most, which matters with many long labels.
     * Errors: INVALID_ARGUMENT; PERMISSION_DENIED; UNAVAILABLE (STORE_UNAVAILABLE);
     * INTERNAL.
     * </pre>
     */
    public io.tosend.keys.v1.ListResponse list(io.tosend.keys.v1.ListRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives one key, by its id or its token. If you find a token, this tells you
     * whose it is.
     * </pre>
     */
    public io.tosend.keys.v1.GetResponse get(io.tosend.keys.v1.GetRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Changes a key's name, its scope, its labels, or when it expires: all that
     * update_mask names, in one write. An expired key can be prolonged, and so can
     * one that was rotated. A suspended key stays suspended. A revoked key can only
     * be renamed and relabelled.
     * Errors: as above; ABORTED with the reason ETAG_MISMATCH if the key has changed
     * since the given etag was read; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED if the domain of the new scope is not verified for the
     * account.
     * </pre>
     */
    public io.tosend.keys.v1.UpdateResponse update(io.tosend.keys.v1.UpdateRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getUpdateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Replaces a key by a successor with a new token. The successor has the same
     * account, name, scope and labels. The token is in this response and nowhere
     * else. The predecessor goes on working for the overlap, and then expires: give
     * the new token to its user within that time.
     * Both happen in one write. A key is rotated once: after that, the call is
     * FAILED_PRECONDITION with the reason KEY_ROTATED, and the message names the
     * successor. ALREADY_EXISTS if this account has used the request_id before, as
     * in Create. If the successor's token was lost, rotate the successor with an
     * overlap of 0.
     * </pre>
     */
    public io.tosend.keys.v1.RotateResponse rotate(io.tosend.keys.v1.RotateRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRotateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Suspends a key until it is resumed. Suspending a suspended key succeeds,
     * replaces the reason, and keeps the time of the first suspension.
     * </pre>
     */
    public io.tosend.keys.v1.SuspendResponse suspend(io.tosend.keys.v1.SuspendRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getSuspendMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends a key's suspension. Resuming a key that is not suspended succeeds. A
     * revoked key stays revoked (KEY_REVOKED), and a key whose account is suspended
     * stays denied until the account is resumed.
     * </pre>
     */
    public io.tosend.keys.v1.ResumeResponse resume(io.tosend.keys.v1.ResumeRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getResumeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Revokes a key permanently. Revoking a revoked key succeeds and returns the
     * time of the first revocation. After UNAVAILABLE, INTERNAL or
     * DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    public io.tosend.keys.v1.RevokeResponse revoke(io.tosend.keys.v1.RevokeRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getRevokeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Revokes many keys: those of an account that a filter selects, or given ones.
     * When it returns OK, no replica grants any of them. Up to 10,000 keys a call.
     * With a filter that selects more, there_are_more is set: call again.
     * With a filter, the keys are those that exist when the call begins. They are
     * revoked in one transaction: all of them, or none. After UNAVAILABLE, INTERNAL
     * or DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    public io.tosend.keys.v1.BatchRevokeResponse batchRevoke(io.tosend.keys.v1.BatchRevokeRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getBatchRevokeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Decides whether a token may be used to send for a domain now. The answer
     * comes from memory, without a query to the database.
     * A denial is an answer, not an error: the status code is about the call,
     * never about the key.
     * Errors: INVALID_ARGUMENT if `domain` is not a domain name; UNAVAILABLE
     * (KEYRING_LOADING, LEASE_LAPSED) while this replica cannot prove that it knows
     * every key and every revocation. Ask another replica, or ask this one again
     * later.
     * </pre>
     */
    public io.tosend.keys.v1.AuthorizeResponse authorize(io.tosend.keys.v1.AuthorizeRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getAuthorizeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Decides as Authorize does, for many questions on one stream. It is for callers
     * that ask thousands of times a second: a question costs a tenth of a call.
     * Each question is decided after it was read, by what every replica must know
     * then, and by the rights that its caller has then. The answers come in the order
     * of the questions, and need not be waited for before the next question. Take
     * them as they come: while they are not taken, no more questions are read.
     * What is wrong with one question is its own answer: INVALID_ARGUMENT, UNAVAILABLE
     * (KEYRING_LOADING, LEASE_LAPSED), and UNAUTHENTICATED or PERMISSION_DENIED if the
     * caller has lost its rights. The stream goes on.
     * The server ends the stream with OK when it shuts down, and when its connection
     * has reached its greatest age, after it has answered every question that it has
     * read. Open another, and ask there what was not answered. Nothing else
     * ends it but the client, its deadline (DEADLINE_EXCEEDED), and what cannot be
     * read: INVALID_ARGUMENT for a message that cannot be decoded, RESOURCE_EXHAUSTED
     * for one of more than 4 KiB, CANCELLED for one that does not come to its end.
     * RESOURCE_EXHAUSTED before any answer: too many streams are open. Call Authorize
     * then.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<io.tosend.keys.v1.AuthorizeStreamRequest, io.tosend.keys.v1.AuthorizeStreamResponse>
        authorizeStream() {
      return io.grpc.stub.ClientCalls.blockingBidiStreamingCall(
          getChannel(), getAuthorizeStreamMethod(), getCallOptions());
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service KeyService.
   * <pre>
   * Keeps API keys, from their creation to their end, and decides whether a token
   * may send for a domain.
   * When a write (Create, Update, Rotate, Suspend, Resume, Revoke, BatchRevoke)
   * returns OK, the change is durable, and every replica answers Authorize by it
   * from then on. To
   * ensure this, a write waits for every replica: usually milliseconds, and at most
   * one lease (a setting, 2 seconds by default) when a replica has crashed or is cut
   * off. If the call's deadline passes first, the call gets DEADLINE_EXCEEDED. The
   * change is not undone.
   * Get, Update, Rotate, Suspend, Resume and Revoke have these errors: INVALID_ARGUMENT;
   * NOT_FOUND if the key does not exist, or belongs to another account than the
   * given one; UNAVAILABLE; INTERNAL. A write also has DEADLINE_EXCEEDED, and
   * FAILED_PRECONDITION if the key's status does not allow it: the reason in
   * google.rpc.ErrorInfo is KEY_REVOKED, or for a Rotate also KEY_EXPIRED,
   * KEY_SUSPENDED or KEY_ROTATED. Revoke is always allowed.
   * After UNAVAILABLE, INTERNAL or DEADLINE_EXCEEDED the key may or may not be
   * changed, and some replicas may still decide as before.
   * </pre>
   */
  public static final class KeyServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<KeyServiceBlockingStub> {
    private KeyServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a key and returns its token. The token is in this response and
     * nowhere else: it can never be shown again.
     * Errors: INVALID_ARGUMENT; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED in google.rpc.ErrorInfo if the domain is not verified for
     * the account: call AddDomain first; ALREADY_EXISTS if this account has used the
     * request_id before (a google.rpc.ResourceInfo detail has the id of the key
     * that the first call created); UNAVAILABLE (STORE_UNAVAILABLE,
     * UNACKNOWLEDGED); INTERNAL; DEADLINE_EXCEEDED. After the last three, or when
     * the response is lost, the key may or may not exist. Call again with the same
     * request_id to find out: this never creates a second key. ALREADY_EXISTS, like
     * OK, is returned only when every replica knows the first key.
     * </pre>
     */
    public io.tosend.keys.v1.CreateResponse create(io.tosend.keys.v1.CreateRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists an account's keys, newest first (by the order in which they were
     * stored). Revoked and expired keys stay in the list.
     * Filters are combined: a key is listed if it passes all of them. A page takes
     * a few milliseconds, however many keys there are. So it may hold fewer keys than
     * page_size, or none, although there are more: if few of the keys that pass one
     * filter pass the others, or with all_accounts and any filter but preview and
     * STATUS_SUSPENDED, or with name_prefix. The list ends only where next_page_token
     * is empty. A page holds 1 MB at most, which matters with many long labels.
     * Errors: INVALID_ARGUMENT; PERMISSION_DENIED; UNAVAILABLE (STORE_UNAVAILABLE);
     * INTERNAL.
     * </pre>
     */
    public io.tosend.keys.v1.ListResponse list(io.tosend.keys.v1.ListRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Gives one key, by its id or its token. If you find a token, this tells you
     * whose it is.
     * </pre>
     */
    public io.tosend.keys.v1.GetResponse get(io.tosend.keys.v1.GetRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Changes a key's name, its scope, its labels, or when it expires: all that
     * update_mask names, in one write. An expired key can be prolonged, and so can
     * one that was rotated. A suspended key stays suspended. A revoked key can only
     * be renamed and relabelled.
     * Errors: as above; ABORTED with the reason ETAG_MISMATCH if the key has changed
     * since the given etag was read; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED if the domain of the new scope is not verified for the
     * account.
     * </pre>
     */
    public io.tosend.keys.v1.UpdateResponse update(io.tosend.keys.v1.UpdateRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUpdateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Replaces a key by a successor with a new token. The successor has the same
     * account, name, scope and labels. The token is in this response and nowhere
     * else. The predecessor goes on working for the overlap, and then expires: give
     * the new token to its user within that time.
     * Both happen in one write. A key is rotated once: after that, the call is
     * FAILED_PRECONDITION with the reason KEY_ROTATED, and the message names the
     * successor. ALREADY_EXISTS if this account has used the request_id before, as
     * in Create. If the successor's token was lost, rotate the successor with an
     * overlap of 0.
     * </pre>
     */
    public io.tosend.keys.v1.RotateResponse rotate(io.tosend.keys.v1.RotateRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRotateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Suspends a key until it is resumed. Suspending a suspended key succeeds,
     * replaces the reason, and keeps the time of the first suspension.
     * </pre>
     */
    public io.tosend.keys.v1.SuspendResponse suspend(io.tosend.keys.v1.SuspendRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getSuspendMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends a key's suspension. Resuming a key that is not suspended succeeds. A
     * revoked key stays revoked (KEY_REVOKED), and a key whose account is suspended
     * stays denied until the account is resumed.
     * </pre>
     */
    public io.tosend.keys.v1.ResumeResponse resume(io.tosend.keys.v1.ResumeRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getResumeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Revokes a key permanently. Revoking a revoked key succeeds and returns the
     * time of the first revocation. After UNAVAILABLE, INTERNAL or
     * DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    public io.tosend.keys.v1.RevokeResponse revoke(io.tosend.keys.v1.RevokeRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRevokeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Revokes many keys: those of an account that a filter selects, or given ones.
     * When it returns OK, no replica grants any of them. Up to 10,000 keys a call.
     * With a filter that selects more, there_are_more is set: call again.
     * With a filter, the keys are those that exist when the call begins. They are
     * revoked in one transaction: all of them, or none. After UNAVAILABLE, INTERNAL
     * or DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    public io.tosend.keys.v1.BatchRevokeResponse batchRevoke(io.tosend.keys.v1.BatchRevokeRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getBatchRevokeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Decides whether a token may be used to send for a domain now. The answer
     * comes from memory, without a query to the database.
     * A denial is an answer, not an error: the status code is about the call,
     * never about the key.
     * Errors: INVALID_ARGUMENT if `domain` is not a domain name; UNAVAILABLE
     * (KEYRING_LOADING, LEASE_LAPSED) while this replica cannot prove that it knows
     * every key and every revocation. Ask another replica, or ask this one again
     * later.
     * </pre>
     */
    public io.tosend.keys.v1.AuthorizeResponse authorize(io.tosend.keys.v1.AuthorizeRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getAuthorizeMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service KeyService.
   * <pre>
   * Keeps API keys, from their creation to their end, and decides whether a token
   * may send for a domain.
   * When a write (Create, Update, Rotate, Suspend, Resume, Revoke, BatchRevoke)
   * returns OK, the change is durable, and every replica answers Authorize by it
   * from then on. To
   * ensure this, a write waits for every replica: usually milliseconds, and at most
   * one lease (a setting, 2 seconds by default) when a replica has crashed or is cut
   * off. If the call's deadline passes first, the call gets DEADLINE_EXCEEDED. The
   * change is not undone.
   * Get, Update, Rotate, Suspend, Resume and Revoke have these errors: INVALID_ARGUMENT;
   * NOT_FOUND if the key does not exist, or belongs to another account than the
   * given one; UNAVAILABLE; INTERNAL. A write also has DEADLINE_EXCEEDED, and
   * FAILED_PRECONDITION if the key's status does not allow it: the reason in
   * google.rpc.ErrorInfo is KEY_REVOKED, or for a Rotate also KEY_EXPIRED,
   * KEY_SUSPENDED or KEY_ROTATED. Revoke is always allowed.
   * After UNAVAILABLE, INTERNAL or DEADLINE_EXCEEDED the key may or may not be
   * changed, and some replicas may still decide as before.
   * </pre>
   */
  public static final class KeyServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<KeyServiceFutureStub> {
    private KeyServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected KeyServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new KeyServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a key and returns its token. The token is in this response and
     * nowhere else: it can never be shown again.
     * Errors: INVALID_ARGUMENT; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED in google.rpc.ErrorInfo if the domain is not verified for
     * the account: call AddDomain first; ALREADY_EXISTS if this account has used the
     * request_id before (a google.rpc.ResourceInfo detail has the id of the key
     * that the first call created); UNAVAILABLE (STORE_UNAVAILABLE,
     * UNACKNOWLEDGED); INTERNAL; DEADLINE_EXCEEDED. After the last three, or when
     * the response is lost, the key may or may not exist. Call again with the same
     * request_id to find out: this never creates a second key. ALREADY_EXISTS, like
     * OK, is returned only when every replica knows the first key.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.CreateResponse> create(
        io.tosend.keys.v1.CreateRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists an account's keys, newest first (by the order in which they were
     * stored). Revoked and expired keys stay in the list.
     * Filters are combined: a key is listed if it passes all of them. A page takes
     * a few milliseconds, however many keys there are. So it may hold fewer keys than
     * page_size, or none, although there are more: if few of the keys that pass one
     * filter pass the others, or with all_accounts and any filter but preview and
     * STATUS_SUSPENDED, or with name_prefix. The list ends only where next_page_token
     * is empty. A page holds 1 MB at most, which matters with many long labels.
     * Errors: INVALID_ARGUMENT; PERMISSION_DENIED; UNAVAILABLE (STORE_UNAVAILABLE);
     * INTERNAL.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.ListResponse> list(
        io.tosend.keys.v1.ListRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Gives one key, by its id or its token. If you find a token, this tells you
     * whose it is.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.GetResponse> get(
        io.tosend.keys.v1.GetRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Changes a key's name, its scope, its labels, or when it expires: all that
     * update_mask names, in one write. An expired key can be prolonged, and so can
     * one that was rotated. A suspended key stays suspended. A revoked key can only
     * be renamed and relabelled.
     * Errors: as above; ABORTED with the reason ETAG_MISMATCH if the key has changed
     * since the given etag was read; FAILED_PRECONDITION with the reason
     * DOMAIN_NOT_VERIFIED if the domain of the new scope is not verified for the
     * account.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.UpdateResponse> update(
        io.tosend.keys.v1.UpdateRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUpdateMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Replaces a key by a successor with a new token. The successor has the same
     * account, name, scope and labels. The token is in this response and nowhere
     * else. The predecessor goes on working for the overlap, and then expires: give
     * the new token to its user within that time.
     * Both happen in one write. A key is rotated once: after that, the call is
     * FAILED_PRECONDITION with the reason KEY_ROTATED, and the message names the
     * successor. ALREADY_EXISTS if this account has used the request_id before, as
     * in Create. If the successor's token was lost, rotate the successor with an
     * overlap of 0.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.RotateResponse> rotate(
        io.tosend.keys.v1.RotateRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRotateMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Suspends a key until it is resumed. Suspending a suspended key succeeds,
     * replaces the reason, and keeps the time of the first suspension.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.SuspendResponse> suspend(
        io.tosend.keys.v1.SuspendRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getSuspendMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Ends a key's suspension. Resuming a key that is not suspended succeeds. A
     * revoked key stays revoked (KEY_REVOKED), and a key whose account is suspended
     * stays denied until the account is resumed.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.ResumeResponse> resume(
        io.tosend.keys.v1.ResumeRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getResumeMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Revokes a key permanently. Revoking a revoked key succeeds and returns the
     * time of the first revocation. After UNAVAILABLE, INTERNAL or
     * DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.RevokeResponse> revoke(
        io.tosend.keys.v1.RevokeRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRevokeMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Revokes many keys: those of an account that a filter selects, or given ones.
     * When it returns OK, no replica grants any of them. Up to 10,000 keys a call.
     * With a filter that selects more, there_are_more is set: call again.
     * With a filter, the keys are those that exist when the call begins. They are
     * revoked in one transaction: all of them, or none. After UNAVAILABLE, INTERNAL
     * or DEADLINE_EXCEEDED, call again: this continues to wait.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.BatchRevokeResponse> batchRevoke(
        io.tosend.keys.v1.BatchRevokeRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getBatchRevokeMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Decides whether a token may be used to send for a domain now. The answer
     * comes from memory, without a query to the database.
     * A denial is an answer, not an error: the status code is about the call,
     * never about the key.
     * Errors: INVALID_ARGUMENT if `domain` is not a domain name; UNAVAILABLE
     * (KEYRING_LOADING, LEASE_LAPSED) while this replica cannot prove that it knows
     * every key and every revocation. Ask another replica, or ask this one again
     * later.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<io.tosend.keys.v1.AuthorizeResponse> authorize(
        io.tosend.keys.v1.AuthorizeRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getAuthorizeMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_CREATE = 0;
  private static final int METHODID_LIST = 1;
  private static final int METHODID_GET = 2;
  private static final int METHODID_UPDATE = 3;
  private static final int METHODID_ROTATE = 4;
  private static final int METHODID_SUSPEND = 5;
  private static final int METHODID_RESUME = 6;
  private static final int METHODID_REVOKE = 7;
  private static final int METHODID_BATCH_REVOKE = 8;
  private static final int METHODID_AUTHORIZE = 9;
  private static final int METHODID_AUTHORIZE_STREAM = 10;

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
        case METHODID_CREATE:
          serviceImpl.create((io.tosend.keys.v1.CreateRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.CreateResponse>) responseObserver);
          break;
        case METHODID_LIST:
          serviceImpl.list((io.tosend.keys.v1.ListRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.ListResponse>) responseObserver);
          break;
        case METHODID_GET:
          serviceImpl.get((io.tosend.keys.v1.GetRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.GetResponse>) responseObserver);
          break;
        case METHODID_UPDATE:
          serviceImpl.update((io.tosend.keys.v1.UpdateRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.UpdateResponse>) responseObserver);
          break;
        case METHODID_ROTATE:
          serviceImpl.rotate((io.tosend.keys.v1.RotateRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.RotateResponse>) responseObserver);
          break;
        case METHODID_SUSPEND:
          serviceImpl.suspend((io.tosend.keys.v1.SuspendRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.SuspendResponse>) responseObserver);
          break;
        case METHODID_RESUME:
          serviceImpl.resume((io.tosend.keys.v1.ResumeRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.ResumeResponse>) responseObserver);
          break;
        case METHODID_REVOKE:
          serviceImpl.revoke((io.tosend.keys.v1.RevokeRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.RevokeResponse>) responseObserver);
          break;
        case METHODID_BATCH_REVOKE:
          serviceImpl.batchRevoke((io.tosend.keys.v1.BatchRevokeRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.BatchRevokeResponse>) responseObserver);
          break;
        case METHODID_AUTHORIZE:
          serviceImpl.authorize((io.tosend.keys.v1.AuthorizeRequest) request,
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.AuthorizeResponse>) responseObserver);
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
        case METHODID_AUTHORIZE_STREAM:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.authorizeStream(
              (io.grpc.stub.StreamObserver<io.tosend.keys.v1.AuthorizeStreamResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getCreateMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.CreateRequest,
              io.tosend.keys.v1.CreateResponse>(
                service, METHODID_CREATE)))
        .addMethod(
          getListMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.ListRequest,
              io.tosend.keys.v1.ListResponse>(
                service, METHODID_LIST)))
        .addMethod(
          getGetMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.GetRequest,
              io.tosend.keys.v1.GetResponse>(
                service, METHODID_GET)))
        .addMethod(
          getUpdateMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.UpdateRequest,
              io.tosend.keys.v1.UpdateResponse>(
                service, METHODID_UPDATE)))
        .addMethod(
          getRotateMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.RotateRequest,
              io.tosend.keys.v1.RotateResponse>(
                service, METHODID_ROTATE)))
        .addMethod(
          getSuspendMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.SuspendRequest,
              io.tosend.keys.v1.SuspendResponse>(
                service, METHODID_SUSPEND)))
        .addMethod(
          getResumeMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.ResumeRequest,
              io.tosend.keys.v1.ResumeResponse>(
                service, METHODID_RESUME)))
        .addMethod(
          getRevokeMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.RevokeRequest,
              io.tosend.keys.v1.RevokeResponse>(
                service, METHODID_REVOKE)))
        .addMethod(
          getBatchRevokeMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.BatchRevokeRequest,
              io.tosend.keys.v1.BatchRevokeResponse>(
                service, METHODID_BATCH_REVOKE)))
        .addMethod(
          getAuthorizeMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              io.tosend.keys.v1.AuthorizeRequest,
              io.tosend.keys.v1.AuthorizeResponse>(
                service, METHODID_AUTHORIZE)))
        .addMethod(
          getAuthorizeStreamMethod(),
          io.grpc.stub.ServerCalls.asyncBidiStreamingCall(
            new MethodHandlers<
              io.tosend.keys.v1.AuthorizeStreamRequest,
              io.tosend.keys.v1.AuthorizeStreamResponse>(
                service, METHODID_AUTHORIZE_STREAM)))
        .build();
  }

  private static abstract class KeyServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    KeyServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return io.tosend.keys.v1.KeyServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("KeyService");
    }
  }

  private static final class KeyServiceFileDescriptorSupplier
      extends KeyServiceBaseDescriptorSupplier {
    KeyServiceFileDescriptorSupplier() {}
  }

  private static final class KeyServiceMethodDescriptorSupplier
      extends KeyServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    KeyServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (KeyServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new KeyServiceFileDescriptorSupplier())
              .addMethod(getCreateMethod())
              .addMethod(getListMethod())
              .addMethod(getGetMethod())
              .addMethod(getUpdateMethod())
              .addMethod(getRotateMethod())
              .addMethod(getSuspendMethod())
              .addMethod(getResumeMethod())
              .addMethod(getRevokeMethod())
              .addMethod(getBatchRevokeMethod())
              .addMethod(getAuthorizeMethod())
              .addMethod(getAuthorizeStreamMethod())
              .build();
        }
      }
    }
    return result;
  }
}
