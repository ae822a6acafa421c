"""The answer to authorize(): allowed or denied. Neither is true or false."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn, Union

from .keysv1 import key_service_pb2 as pb

_NEITHER_TRUE_NOR_FALSE: Final = (
    "an answer of authorize() is neither true nor false: "
    "write `isinstance(answer, Allowed)`, or `match answer:` with `case Allowed():`"
)


class Reason:
    """Why a token is denied. A newer service may have reasons that are not listed here."""

    MALFORMED_TOKEN: Final = "MALFORMED_TOKEN"
    UNKNOWN_TOKEN: Final = "UNKNOWN_TOKEN"
    REVOKED: Final = "REVOKED"
    EXPIRED: Final = "EXPIRED"
    SUSPENDED: Final = "SUSPENDED"
    DOMAIN_NOT_ALLOWED: Final = "DOMAIN_NOT_ALLOWED"
    DOMAIN_NOT_VERIFIED: Final = "DOMAIN_NOT_VERIFIED"


_ABOUT_THE_TOKEN: Final = frozenset(
    {Reason.MALFORMED_TOKEN, Reason.UNKNOWN_TOKEN, Reason.REVOKED, Reason.EXPIRED}
)


@dataclass(frozen=True)
class Allowed:
    """The token may send for the domain."""

    key_id: str
    """The key that the token belongs to."""
    account_id: str
    """The account that owns the key."""
    domain: str | None
    """The only domain that the key may send for. None: every verified domain of its
    account."""

    def __bool__(self) -> NoReturn:
        raise TypeError(_NEITHER_TRUE_NOR_FALSE)


@dataclass(frozen=True)
class Denied:
    """The token may not send for the domain."""

    reason: str
    """Why: one of `Reason`, or the number of a reason that this release does not know."""
    key_id: str | None
    """The key that the token belongs to, for your log. None if it is not known."""
    account_id: str | None
    """The account that owns the key. None if you may not know it."""

    @property
    def http_status(self) -> int:
        """What to answer over HTTP: 401 if another token is needed, and otherwise 403."""
        return 401 if self.reason in _ABOUT_THE_TOKEN else 403

    def __bool__(self) -> NoReturn:
        raise TypeError(_NEITHER_TRUE_NOR_FALSE)


Answer = Union[Allowed, Denied]
"""What authorize() returns."""


def read_answer(response: pb.AuthorizeResponse) -> Answer | None:
    """Reads a response. None: it holds no decision that this release understands, or two."""
    match response.WhichOneof("decision"), response.granted:
        case "grant", True:
            return _read_grant(response.grant)
        case "denial", False:
            denial = response.denial
            return Denied(
                _reason_name(denial.reason), denial.key_id or None, denial.account_id or None
            )
        case _:
            return None


def _read_grant(grant: pb.Grant) -> Allowed | None:
    """Reads a grant. None: its scope is of a kind that this release does not know."""
    if grant.scope.WhichOneof("kind") == "all_domains":
        return Allowed(grant.key_id, grant.account_id, None)
    domain = grant.scope.domain
    return Allowed(grant.key_id, grant.account_id, domain) if domain else None


def _reason_name(number: int) -> str:
    try:
        return pb.Denial.Reason.Name(number).removeprefix("REASON_")
    except ValueError:
        return str(number)
