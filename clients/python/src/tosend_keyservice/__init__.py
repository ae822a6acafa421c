"""Asks KeyService whether a token may send for a domain, and manages keys.

`Client` is for threads, and `AsyncClient` for asyncio. Both do the same::

    with Client(["keys.example.org:50051"], secret_file="secret") as client:
        match client.authorize(token, "example.com"):
            case Allowed(key_id=key_id):
                print("send", key_id)
            case Denied(reason=reason):
                print("do not send", reason)
"""

from ._version import VERSION as __version__
from .admin import KEEP
from .aio import AsyncClient
from .answers import Allowed, Answer, Denied, Reason
from .blocking import Client
from .errors import KeyServiceError, Misused, Refused, Unavailable
from .token import CreatedKey, RotatedKey, Token

__all__ = [
    "KEEP",
    "Allowed",
    "Answer",
    "AsyncClient",
    "Client",
    "CreatedKey",
    "Denied",
    "KeyServiceError",
    "Misused",
    "Reason",
    "Refused",
    "RotatedKey",
    "Token",
    "Unavailable",
    "__version__",
]
