from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from replicas import Replica

from tosend_keyservice import Client

_reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([_reader]))


@pytest.fixture
def measured() -> InMemoryMetricReader:
    return _reader


@pytest.fixture
def replica() -> Iterator[Replica]:
    with Replica() as replica:
        yield replica


@pytest.fixture
def three() -> Iterator[list[Replica]]:
    with Replica() as one, Replica() as two, Replica() as three:
        yield [one, two, three]


@pytest.fixture
def client(replica: Replica) -> Iterator[Client]:
    with Client([replica.address], plaintext=True) as client:
        client.wait_until_ready()
        yield client
