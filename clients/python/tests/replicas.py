"""Replicas for tests: real servers in this process, which can hang, refuse and count."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value
from google.rpc import error_details_pb2, status_pb2

from tosend_keyservice.keysv1 import key_service_pb2 as keys

SERVING, NOT_SERVING = 1, 2
HANG = "hang"
GRANT = keys.AuthorizeResponse(
    granted=True,
    grant=keys.Grant(
        key_id="key_1", account_id="acme", scope=keys.Scope(all_domains=keys.AllDomains())
    ),
)


class Failure(Exception):
    """What a handler raises to end its call with this status."""

    def __init__(
        self, code: grpc.StatusCode, message: str = "", details: tuple[Message, ...] = ()
    ) -> None:
        self.code = code
        self.message = message
        self.details = details


class Replica:
    """A server. `answer` handles each call, and `health` is what its watchers are told."""

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self.answer: Callable[[str, bytes], Message] = lambda method, request: GRANT
        self.requests: list[tuple[str, bytes]] = []
        self.metadata: list[dict[str, Any]] = []
        self.watches = 0
        self.most_in_flight = 0
        self._in_flight = 0
        self.given_up = 0  # calls that their client no longer waited for
        self.peers: set[str] = set()
        self._health = SERVING
        self._hangs = False
        self._garbles = False
        self._ended = False
        self._change = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(256), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Handler(self),))
        address = f"127.0.0.1:{port}"
        if credentials:
            self.port = self._server.add_secure_port(address, credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def __enter__(self) -> Replica:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def kill(self) -> None:
        self._set("_ended", True)
        self._server.stop(None).wait()

    def hang(self) -> None:
        """From now on nothing is answered, until resume()."""
        self._set("_hangs", True)

    def resume(self) -> None:
        self._set("_hangs", False)

    def garble(self, garbles: bool) -> None:
        """Whether everything, health too, ends in an error with a detail that cannot be read."""
        self._set("_garbles", garbles)

    def set_health(self, health: int) -> None:
        self._set("_health", health)

    @property
    def calls(self) -> int:
        return len(self.requests)

    def _set(self, name: str, value: object) -> None:
        setattr(self, name, value)
        self._wake()

    def _wake(self) -> None:
        with self._change:
            self._change.notify_all()

    def _handle(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.requests.append((method, request))
        self.metadata.append(dict(context.invocation_metadata()))
        self.peers.add(context.peer())
        context.add_callback(self._wake)
        with self._change:
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            self._change.wait_for(
                lambda: self._ended or not self._hangs or not context.is_active(), 30
            )
            self._in_flight -= 1
        if not context.is_active():
            self.given_up += 1
        if self._garbles:
            _abort_garbled(context)
        try:
            return self.answer(method, request).SerializeToString()
        except Failure as failure:
            details = [AnyMessage() for _ in failure.details]
            for packed, detail in zip(details, failure.details, strict=True):
                packed.Pack(detail)
            status = status_pb2.Status(code=failure.code.value[0], details=details)
            context.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()),)
            )
            context.abort(failure.code, failure.message)
            raise AssertionError from None

    def _watch(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        assert request == b"\x0a\x19tosend.keys.v1.KeyService"
        self.watches += 1
        context.add_callback(self._wake)
        told = None
        while context.is_active() and not self._ended:
            if self._garbles:
                _abort_garbled(context)
            with self._change:
                self._change.wait_for(
                    lambda: (
                        self._ended
                        or self._garbles
                        or not context.is_active()
                        or (not self._hangs and self._health != told)
                    ),
                    30,
                )
            if (
                context.is_active()
                and not self._hangs
                and not self._garbles
                and self._health != told
            ):
                told = self._health
                yield Int32Value(value=told).SerializeToString()


def _abort_garbled(context: grpc.ServicerContext) -> None:
    detail = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
    details = status_pb2.Status(code=14, details=[detail]).SerializeToString()
    context.set_trailing_metadata((("grpc-status-details-bin", details),))
    context.abort(grpc.StatusCode.UNAVAILABLE, "garbled")


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        if details.method == "/grpc.health.v1.Health/Watch":
            return grpc.unary_stream_rpc_method_handler(self._replica._watch)
        method = details.method.removeprefix("/tosend.keys.v1.")
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._replica._handle(method, request, context)
        )


def denial(reason: int, key_id: str = "", account_id: str = "") -> keys.AuthorizeResponse:
    response = keys.AuthorizeResponse()
    response.denial.key_id = key_id
    response.denial.account_id = account_id
    response.denial.MergeFromString(bytes([0x08, reason]))  # also reasons that are not known
    return response


def failing(
    *failures: Failure | grpc.StatusCode, then: Message = GRANT
) -> Callable[[str, bytes], Message]:
    """Fails so often, and then answers."""
    left = list(failures)

    def answer(method: str, request: bytes) -> Message:
        if not left:
            return then
        failure = left.pop(0)
        raise failure if isinstance(failure, Failure) else Failure(failure, "as told")

    return answer


def error_info(reason: str) -> Any:
    return error_details_pb2.ErrorInfo(reason=reason, domain="keys.tosend")


def resource_info(name: str) -> Any:
    return error_details_pb2.ResourceInfo(resource_name=name)


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    """Waits until the condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(0.01)
