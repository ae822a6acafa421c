"""The handler that the page of this library shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from replicas import GRANT, Failure, Replica, denial, failing

from tosend_keyservice import Client

_PAGE = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def status_for() -> Callable[[Client, str, str], int]:
    blocks = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)
    [handler] = [block for block in blocks if "def status_for(" in block]
    names: dict[str, Any] = {}
    exec(handler, names)  # noqa: S102
    status_for: Callable[[Client, str, str], int] = names["status_for"]
    return status_for


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda *_: GRANT, 202),
        (lambda *_: denial(3), 401),
        (lambda *_: denial(6), 403),
        (failing(*[Failure(StatusCode.UNAVAILABLE)] * 4), 503),
        (failing(Failure(StatusCode.INVALID_ARGUMENT)), 400),
        (failing(Failure(StatusCode.PERMISSION_DENIED)), 503),
    ],
)
def test_the_handler_of_the_page_answers_each_end(
    client: Client, replica: Replica, status_for: Any, answer: Any, status: int
) -> None:
    replica.answer = answer
    assert status_for(client, "Bearer tsend_x", "Name <a@example.com>") == status
    assert status_for(client, "Basic abc", "Name <a@example.com>") == 401
