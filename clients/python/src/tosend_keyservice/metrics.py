"""The library's metrics. Without an OpenTelemetry SDK they cost next to nothing."""

from __future__ import annotations

from typing import Final

from opentelemetry import metrics

from ._version import VERSION

_meter = metrics.get_meter("tosend_keyservice", VERSION)

# An answer usually takes 1 ms. The last bounds are for calls that are tried again.
_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 1.0, 2.5)

_authorize_duration = _meter.create_histogram(
    "keyservice.client.authorize.duration",
    unit="s",
    description="How long authorize() took, by its outcome.",
    explicit_bucket_boundaries_advisory=_SECONDS,
)
_attempts = _meter.create_counter(
    "keyservice.client.attempts",
    unit="{attempt}",
    description="Attempts of all calls, by the gRPC code in which each ended.",
)
_replicas = _meter.create_up_down_counter(
    "keyservice.client.replicas",
    unit="{replica}",
    description="The replicas that the library has connections to, by their readiness.",
)


def record_authorize(outcome: str, seconds: float) -> None:
    _authorize_duration.record(seconds, {"outcome": outcome})


def record_attempt(code: str) -> None:
    _attempts.add(1, {"code": code})


def add_replicas(change: int, *, ready: bool) -> None:
    _replicas.add(change, {"ready": ready})
