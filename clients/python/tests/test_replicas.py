"""Which replica is asked, when, and how often."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc import StatusCode
from grpc.aio._channel import UnaryUnaryMultiCallable
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from replicas import NOT_SERVING, SERVING, Failure, Replica, failing, wait_for

from tosend_keyservice import Allowed, AsyncClient, Client, Misused, Unavailable

TOKEN = "tsend_" + "A" * 49


def open_client(*replicas: Replica, **options: Any) -> Client:
    """A client that has heard from all of the replicas."""
    watches = [replica.watches for replica in replicas]
    client = Client([replica.address for replica in replicas], plaintext=True, **options)
    for replica, before in zip(replicas, watches, strict=True):
        wait_for(lambda: replica.watches > before)
    client.wait_until_ready()
    wait_for(lambda: sum(is_ready(client, replica) for replica in replicas) == len(replicas))
    return client


def is_ready(client: Client, replica: Replica) -> bool:
    """Whether the client finds the replica ready. There is no public way to know."""
    known = client._client._pool._replicas.values()
    return any(one.ready and one.address.port == replica.port for one in known)


def ask(client: Client, times: int = 1) -> None:
    for _ in range(times):
        assert isinstance(client.authorize(TOKEN, "example.com"), Allowed)


def test_calls_go_to_all_ready_replicas_in_turns(three: list[Replica]) -> None:
    with open_client(*three) as client:
        ask(client, 30)
    assert [replica.calls for replica in three] == [10, 10, 10]


def test_each_attempt_is_on_another_replica(three: list[Replica]) -> None:
    for replica in three:
        replica.answer = failing(StatusCode.UNAVAILABLE)
    with open_client(*three) as client:
        ask(client)
    assert sorted(replica.calls for replica in three) == [1, 1, 2]


def test_a_replica_that_is_not_serving_is_left_alone(three: list[Replica]) -> None:
    with open_client(*three) as client:
        three[0].set_health(NOT_SERVING)
        wait_for(lambda: not is_ready(client, three[0]))
        ask(client, 30)
        assert three[0].calls == 0
        three[0].set_health(SERVING)
        wait_for(lambda: is_ready(client, three[0]))
        ask(client, 30)
        assert three[0].calls == 10


def test_a_ready_replica_is_asked_again_rather_than_one_that_is_not(three: list[Replica]) -> None:
    with open_client(*three) as client:
        for replica in three[1:]:
            replica.set_health(NOT_SERVING)
            wait_for(lambda: not is_ready(client, replica))
        three[0].answer = failing(*[StatusCode.UNAVAILABLE] * 3)
        began = time.monotonic()
        ask(client)
        assert 0.175 <= time.monotonic() - began < 0.4
    assert [replica.calls for replica in three] == [4, 0, 0]


def test_a_replica_that_is_not_ready_is_asked_if_none_is(client: Client, replica: Replica) -> None:
    replica.set_health(NOT_SERVING)
    wait_for(lambda: not is_ready(client, replica))
    ask(client)


def test_a_replica_that_hangs_is_asked_once_until_its_health_returns(
    three: list[Replica],
) -> None:
    with open_client(*three) as client:
        three[0].hang()
        ask(client, 30)
        assert three[0].calls == 1
        three[0].resume()
        wait_for(lambda: is_ready(client, three[0]))
        ask(client, 30)
        assert three[0].calls > 1


def test_a_replica_that_hangs_for_a_second_is_connected_anew(three: list[Replica]) -> None:
    with open_client(*three) as client:
        three[0].hang()
        ask(client, 3)
        watches = three[0].watches  # after the second one, on the same connection
        wait_for(lambda: three[0].watches > watches)
        three[0].resume()
        wait_for(lambda: is_ready(client, three[0]))
        ask(client, 3)
    assert len(three[0].peers) == 2


def test_the_deadline_holds_when_all_replicas_hang(three: list[Replica]) -> None:
    with open_client(*three) as client:
        for replica in three:
            replica.hang()
        began = time.monotonic()
        with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
            client.authorize(TOKEN, "example.com", deadline=0.5)
        assert 0.45 < time.monotonic() - began < 0.6


def test_the_deadline_holds_when_grpc_does_not_end_an_attempt(
    client: Client, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = UnaryUnaryMultiCallable.__call__

    def ask_without_end(self: Any, *args: Any, **options: Any) -> Any:
        return asks(self, *args, **{**options, "timeout": 30})

    replica.hang()
    monkeypatch.setattr(UnaryUnaryMultiCallable, "__call__", ask_without_end)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no answer within 200 ms"):
        client.authorize(TOKEN, "example.com", deadline=0.5)
    assert 0.45 < time.monotonic() - began < 0.6


def test_the_deadline_holds_when_the_loop_is_held_up(client: Client) -> None:
    held_up, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        held_up.set()
        go_on.wait(10)

    client._client._pool._loop.call_soon_threadsafe(hold_up)
    held_up.wait(10)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="busy"):
        client.authorize(TOKEN, "example.com", deadline=0.2)
    with pytest.raises(Unavailable, match="busy"):
        client.wait_until_ready(0.2)
    assert time.monotonic() - began < 0.6
    go_on.set()
    ask(client)


def test_the_time_before_the_loop_takes_a_call_up_counts(client: Client, replica: Replica) -> None:
    replica.hang()
    client._client._pool._loop.call_soon_threadsafe(time.sleep, 0.4)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
        client.authorize(TOKEN, "example.com", deadline=0.5)
    assert time.monotonic() - began < 0.6


def test_the_deadline_holds_without_any_replica() -> None:
    with Client(["no-such-host.invalid:1"], plaintext=True) as client:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"no-such-host\.invalid"):
            client.authorize(TOKEN, "example.com", deadline=0.2)
        assert time.monotonic() - began < 0.3


def test_a_call_waits_before_it_asks_a_replica_again(client: Client, replica: Replica) -> None:
    replica.answer = failing(*[StatusCode.UNAVAILABLE] * 3)
    began = time.monotonic()
    ask(client)
    assert 0.175 <= time.monotonic() - began < 0.4


def test_where_the_connection_is_refused_a_call_ends_after_its_attempts(
    client: Client, replica: Replica
) -> None:
    replica.kill()
    wait_for(lambda: not is_ready(client, replica))
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"in 4 attempts within .*, 4 times$"):
        client.authorize(TOKEN, "example.com", deadline=60)
    assert time.monotonic() - began < 10


def test_a_replica_that_hangs_is_found_out_by_calls_with_a_short_deadline(
    three: list[Replica],
) -> None:
    with open_client(*three) as client:
        three[0].hang()
        for _ in range(30):
            assert isinstance(client.authorize(TOKEN, "example.com", deadline=0.1), Allowed)
        assert three[0].calls == 1


def test_an_attempt_cut_short_by_the_deadline_says_nothing_about_the_replica(
    client: Client, replica: Replica
) -> None:
    def fail_late(method: str, request: bytes) -> Message:
        if replica.calls == 2:
            replica.hang()
        time.sleep(0.1)
        raise Failure(StatusCode.UNAVAILABLE)

    replica.answer = fail_late
    with pytest.raises(Unavailable, match=r"UNAVAILABLE, 2 times.*DEADLINE_EXCEEDED"):
        client.authorize(TOKEN, "example.com", deadline=0.4)
    assert is_ready(client, replica)


def ask_at_once(replica: Replica, times: int, **options: Any) -> list[object]:
    """What becomes of so many calls, which the replica answers once it has 100 of them."""

    async def main() -> list[object]:
        async with AsyncClient([replica.address], plaintext=True, **options) as client:
            await client.wait_until_ready()
            replica.hang()
            calls = [client.authorize(TOKEN, "example.com") for _ in range(times)]
            answers = asyncio.gather(*calls, return_exceptions=True)
            while replica.calls < 100:
                await asyncio.sleep(0.01)
            if "attempt_timeout" in options:
                replica.resume()
            return list(await answers)

    return asyncio.run(main())


def test_a_replica_has_at_most_100_attempts_in_flight(replica: Replica) -> None:
    answers = ask_at_once(replica, 300, attempt_timeout=9, deadline=9)
    assert {type(answer) for answer in answers} == {Allowed}
    assert replica.most_in_flight == 100


def test_no_attempts_follow_100_that_a_server_has_not_read(replica: Replica) -> None:
    answers = ask_at_once(replica, 300, deadline=0.9)
    assert {type(answer) for answer in answers} == {Unavailable}
    assert any("too many other calls" in str(answer) for answer in answers)
    assert replica.calls == 100


def test_a_replica_that_restarts_is_found_again(replica: Replica, client: Client) -> None:
    replica.kill()
    wait_for(lambda: not is_ready(client, replica))
    with pytest.raises(Unavailable, match="UNAVAILABLE"):
        client.authorize(TOKEN, "example.com")
    with Replica(replica.port) as restarted:
        client.wait_until_ready()
        ask(client)
        assert restarted.calls == 1


def test_no_call_fails_while_one_of_three_is_killed(three: list[Replica]) -> None:
    with open_client(*three) as client:
        killing = threading.Timer(0.05, three[0].kill)
        killing.start()
        while killing.is_alive():
            ask(client)
        ask(client, 10)


def test_a_name_stands_for_all_its_addresses(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Replica() as other:
        addresses = {"one.test": [replica], "other.test": [other]}

        def look_up(host: str, port: int, **_: Any) -> list[Any]:
            found = [("127.0.0.1", known.port) for known in addresses[host]]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

        monkeypatch.setattr("tosend_keyservice.pool.socket.getaddrinfo", look_up)
        names = [f"one.test:{replica.port}", f"other.test:{other.port}"]
        with Client(names, plaintext=True) as client:
            wait_for(lambda: is_ready(client, replica) and is_ready(client, other))
            addresses["one.test"] = []
            replica.set_health(NOT_SERVING)
            other.set_health(NOT_SERVING)  # With none ready, names are looked up at once.
            wait_for(lambda: replica.address not in str(client._client._pool.describe()))
            ask(client, 3)
            assert (replica.calls, other.calls) == (0, 3)


def test_a_secret_leaves_this_machine_by_no_name(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    far = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 1))]
    monkeypatch.setattr("tosend_keyservice.pool.socket.getaddrinfo", lambda *_, **__: far)
    (tmp_path / "secret").write_text("tsop_x")
    with (
        Client(["localhost:1"], plaintext=True, secret_file=str(tmp_path / "secret")) as client,
        pytest.raises(Unavailable, match=r"10\.0\.0\.1 in plain text"),
    ):
        client.authorize(TOKEN, "example.com", deadline=0.2)


def test_details_that_cannot_be_read_end_no_watch(client: Client, replica: Replica) -> None:
    replica.garble(True)
    with pytest.raises(Unavailable, match="garbled"):
        client.authorize(TOKEN, "example.com")
    wait_for(lambda: replica.watches > 2)
    replica.garble(False)
    client.wait_until_ready()
    ask(client)


def test_wait_until_ready_says_why_none_is(replica: Replica) -> None:
    replica.set_health(NOT_SERVING)
    with Client([replica.address], plaintext=True) as client:
        with pytest.raises(Unavailable, match=r"not SERVING|not answered"):
            client.wait_until_ready(0.2)
        replica.set_health(SERVING)
        client.wait_until_ready()


def test_close_lets_calls_in_flight_finish(replica: Replica) -> None:
    client = open_client(replica, attempt_timeout=5, deadline=5)
    replica.hang()
    answers: list[object] = []
    calling = threading.Thread(target=lambda: answers.append(client.authorize(TOKEN, "a.test")))
    calling.start()
    wait_for(lambda: replica.calls == 1)
    closing = threading.Thread(target=client.close)
    closing.start()
    wait_for(lambda: client._client._closed)
    replica.resume()
    calling.join(5)
    closing.join(5)
    assert [type(answer) for answer in answers] == [Allowed]
    with pytest.raises(Misused, match="closed"):
        client.authorize(TOKEN, "example.com")


def test_clients_say_in_a_forked_process_that_they_do_not_work_there(replica: Replica) -> None:
    program = """
import gc, os, sys
from tosend_keyservice import Client, Misused

with Client([sys.argv[1]], plaintext=True) as client:
    client.wait_until_ready()
    child = os.fork()
    if child == 0:
        gc.collect()
        for call in client.close, lambda: Client([sys.argv[1]], plaintext=True):
            try:
                call()
            except Misused as error:
                assert "forked" in str(error)
            else:
                os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    client.authorize("tsend_", "example.com")  # The parent's client still works.
    sys.exit(os.waitstatus_to_exitcode(status))
"""
    command = [sys.executable, "-W", "ignore", "-c", program, replica.address]
    environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"}
    subprocess.run(command, env=environment, check=True, timeout=20)
    assert replica.calls == 1


def test_metrics(measured: InMemoryMetricReader, replica: Replica) -> None:
    def points(name: str) -> dict[str, Any]:
        data = measured.get_metrics_data()
        assert data
        return {
            str(next(iter((point.attributes or {}).values()))): getattr(
                point, "count", getattr(point, "value", None)
            )
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == f"keyservice.client.{name}"
            for point in metric.data.data_points
        }

    names = ("authorize.duration", "attempts", "replicas")
    with Client([replica.address], plaintext=True) as first:
        first.wait_until_ready()
        ask(first)
    before = {name: points(name) for name in names}
    with Client([replica.address], plaintext=True) as client:
        client.wait_until_ready()
        replica.answer = failing(StatusCode.INTERNAL)
        ask(client)
        replica.answer = failing(Failure(StatusCode.INVALID_ARGUMENT))
        with pytest.raises(Misused):
            client.authorize(TOKEN, "example.com")
        now = {name: points(name) for name in names}

    def added(name: str, attribute: str) -> Any:
        return now[name].get(attribute, 0) - before[name].get(attribute, 0)

    assert added("authorize.duration", "allowed") == 1
    assert added("authorize.duration", "misused") == 1
    assert added("attempts", "OK") == 1
    assert added("attempts", "INTERNAL") == 1
    assert added("attempts", "INVALID_ARGUMENT") == 1
    assert added("replicas", "True") == 1
    assert added("replicas", "False") == 0
