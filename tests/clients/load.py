"""Calls KeyService without a pause until its standard input ends, and reports every call.

One channel balances between several addresses, as gRPC clients in production do. A failed call is
never repeated, not even if it reached no server. Prints `started` when every method was answered
once. At the end it prints JSON with the number of calls by method and the failures.
Usage: load.py HOST:PORT...
"""

import json
import queue
import sys
import threading
from collections import Counter, deque

import grpc
from google.protobuf.message_factory import GetMessageClass
from tour import SERVICE, Service, reason_name

AUTHORIZERS = 4
STREAMS = 2
QUESTIONS_AHEAD = 20
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": SERVICE},
}
OPTIONS = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.enable_retries", 0),
    # The default is the list of addresses, which is not a valid host name.
    ("grpc.default_authority", "keyservice"),
    # The default is a second or more, which is for distant servers.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
]


class Load:
    def __init__(self, service):
        self.service = service
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.calls = Counter()
        self.failures = []

    def call(self, name, /, **fields):
        """Returns the answer, or None if the call failed."""
        answer = None
        try:
            answer = self.service.call(name, **fields)
        except grpc.RpcError as error:
            self.fail(name, f"{error.code().name}: {error.details()}")
        with self.lock:
            self.calls[name] += 1
        return answer

    def fail(self, name, why):
        with self.lock:
            self.failures.append(f"{name}: {why}")

    def authorize(self, token, expected):
        answer = self.call("Authorize", token=token, domain="example.com")
        if answer is None:
            return
        denied = answer.WhichOneof("decision") == "denial"
        decision = reason_name(answer.denial) if denied else "granted"
        if decision != expected:
            self.fail("Authorize", f"{decision}, not {expected}")

    def authorize_until_ended(self, token):
        while not self.ended.is_set():
            self.authorize(token, "granted")

    def ask_on_streams_until_ended(self, token):
        """Asks on a stream. When the server ends it, asks again on another what was not answered."""
        method = self.service.methods["AuthorizeStream"]
        question = GetMessageClass(method.input_type)
        open_stream = self.service.channel.stream_stream(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=question.SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        unanswered, asked = deque(), 0
        while unanswered or not self.ended.is_set():
            questions = queue.SimpleQueue()
            for number in unanswered:
                questions.put(question(id=number, token=token, domain="example.com"))
            answers = open_stream(iter(questions.get, None))
            try:
                while unanswered or not self.ended.is_set():
                    while len(unanswered) < QUESTIONS_AHEAD and not self.ended.is_set():
                        asked += 1
                        unanswered.append(asked)
                        questions.put(question(id=asked, token=token, domain="example.com"))
                    answer = next(answers)
                    with self.lock:
                        self.calls["AuthorizeStream"] += 1
                    if answer.id != unanswered.popleft() or answer.WhichOneof("answer") != "grant":
                        self.fail("AuthorizeStream", str(answer))
            except StopIteration:
                with self.lock:
                    self.calls["a stream has ended"] += 1
            except grpc.RpcError as error:
                self.fail("AuthorizeStream", f"{error.code().name}: {error.details()}")
            questions.put(None)

    def create_and_revoke(self):
        created = self.call("Create", account_id="acme", name="under load")
        if created is None:
            return
        self.authorize(created.token, "granted")
        self.call("List", account_id="acme")
        if self.call("Revoke", key_id=created.key.key_id) is not None:
            self.authorize(created.token, "REASON_REVOKED")

    def create_and_revoke_until_ended(self):
        while not self.ended.is_set():
            self.create_and_revoke()


def run(service):
    load = Load(service)
    load.create_and_revoke()
    token = service.call("Create", account_id="acme", name="authorized").token
    threads = [threading.Thread(target=load.create_and_revoke_until_ended)]
    for _ in range(AUTHORIZERS):
        threads.append(threading.Thread(target=load.authorize_until_ended, args=[token]))
    for _ in range(STREAMS):
        threads.append(threading.Thread(target=load.ask_on_streams_until_ended, args=[token]))
    for thread in threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.read()
    load.ended.set()
    for thread in threads:
        thread.join()
    print(json.dumps([load.calls, load.failures]))


if __name__ == "__main__":
    with grpc.insecure_channel("ipv4:" + ",".join(sys.argv[1:]), OPTIONS) as the_channel:
        run(Service(the_channel, SERVICE))
