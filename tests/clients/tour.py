"""Takes the tour of KeyService. Needs only its address.

The client learns the API through reflection, without generated code or proto files.
Usage: tour.py HOST:PORT
"""

import re
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "tosend.keys.v1.KeyService"
TIMEOUT_SECONDS = 15


class Service:
    """One service behind a channel, as reflection describes it."""

    def __init__(self, channel, name):
        self.channel = channel
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self.methods = self.pool.FindServiceByName(name).methods_by_name

    def message(self, name):
        return GetMessageClass(self.pool.FindMessageTypeByName(name))

    def call(self, name, /, **fields):
        method = self.methods[name]
        request = GetMessageClass(method.input_type)(**fields)
        call = self.channel.unary_unary(
            f"/{method.containing_service.full_name}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return call(request, timeout=TIMEOUT_SECONDS)

    def refusal(self, name, /, **fields):
        """Returns the code of a call that must fail, and the only detail of its status."""
        try:
            self.call(name, **fields)
        except grpc.RpcError as error:
            trailers = dict(error.trailing_metadata())
            status = self.message("google.rpc.Status").FromString(
                trailers["grpc-status-details-bin"]
            )
            [packed] = status.details
            detail = self.message(packed.TypeName())()
            assert packed.Unpack(detail)
            return error.code(), detail
        raise AssertionError(f"{name} was not refused")


def status_name(key):
    return key.DESCRIPTOR.enum_types_by_name["Status"].values_by_number[key.status].name


def reason_name(denial):
    return denial.DESCRIPTOR.enum_types_by_name["Reason"].values_by_number[denial.reason].name


def take_the_tour(service):
    assert {"Create", "List", "Revoke", "Authorize"} <= set(service.methods)

    created = service.call(
        "Create", account_id="acme", name="Newsletter", domain="example.com", request_id="tour"
    )
    token, key = created.token, created.key
    assert re.fullmatch("tsend_[0-9A-Za-z]{49}", token)
    assert key.preview == f"{token[:8]}…{token[-4:]}"
    assert status_name(key) == "STATUS_ACTIVE"

    decision = service.call("Authorize", token=token, domain="EXAMPLE.com.")
    assert decision.WhichOneof("decision") == "grant"
    assert decision.grant.key_id == key.key_id
    assert decision.grant.account_id == "acme"
    assert decision.grant.scope.domain == "example.com"

    assert list(service.call("List", account_id="acme").keys) == [key]

    revoked = service.call("Revoke", key_id=key.key_id).key
    assert status_name(revoked) == "STATUS_REVOKED"
    assert revoked.revoke_time.ToMicroseconds() >= key.create_time.ToMicroseconds()

    decision = service.call("Authorize", token=token, domain="example.com")
    assert decision.WhichOneof("decision") == "denial"
    assert reason_name(decision.denial) == "REASON_REVOKED"

    assert list(service.call("List", account_id="acme").keys) == [revoked]


def be_refused(service):
    code, detail = service.refusal("Authorize", token="", domain="someone@example.com")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in detail.field_violations] == ["domain"]

    [first] = service.call("List", account_id="acme").keys
    code, detail = service.refusal(
        "Create", account_id="acme", name="Newsletter", request_id="tour"
    )
    assert code == grpc.StatusCode.ALREADY_EXISTS
    assert detail.resource_name == first.key_id


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1]) as the_channel:
        the_service = Service(the_channel, SERVICE)
        take_the_tour(the_service)
        be_refused(the_service)
