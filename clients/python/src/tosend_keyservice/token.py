"""Tokens, and the results of the two admin calls that make one."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from .errors import Misused
from .keysv1.key_service_pb2 import Key


class Token:
    """The secret string of a key. It does not print: reveal() returns its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise Misused(f"a token is a str, not {type(text).__name__}")
        self._text = as_utf8(text)

    def reveal(self) -> str:
        """The token itself. Give it to its user, and do not keep it."""
        return self._text

    def __repr__(self) -> str:
        return "Token(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Token):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True)
class CreatedKey:
    """A new key, and its token, which can never be shown again."""

    token: Token
    key: Key


@dataclass(frozen=True)
class RotatedKey:
    """A key's successor, its token, which can never be shown again, and the key before it."""

    token: Token
    key: Key
    predecessor: Key


def as_utf8(text: str) -> str:
    """Replaces what has no UTF-8. It is in no token, and an error would show the text."""
    return text.encode("utf-8", "replace").decode("utf-8")
