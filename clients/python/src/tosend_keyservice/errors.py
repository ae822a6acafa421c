"""The errors of the library. None of them contains a token or a secret."""

from __future__ import annotations


class KeyServiceError(Exception):
    """Every error of this library is one of these."""


class Unavailable(KeyServiceError):
    """No replica could answer in time. The text says what happened to each attempt.

    After an authorize(), nothing is known about the token: answer 503, and do not send.
    After an admin call, the change may or may not have been made.
    """


class Misused(KeyServiceError):
    """The question or the configuration is wrong, or this caller may not ask.

    To ask again does not help. `code` is the gRPC code's name if the service said so, and
    None if the options are wrong, or the client is closed. If it is INVALID_ARGUMENT and the domain came from your user,
    answer 400. Otherwise mend your program, its files, or its rights.
    """

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class Refused(KeyServiceError):
    """An admin call was understood and refused, for example because there is no such key.

    `code` is the name of the gRPC code, such as `NOT_FOUND`, and `message` is the
    service's text. `reason` is the reason in `google.rpc.ErrorInfo`, such as
    `KEY_REVOKED`. `resource` is the name in `google.rpc.ResourceInfo`: for
    `ALREADY_EXISTS` the id of the key. Both are None if the service did not say.
    """

    def __init__(self, code: str, message: str, reason: str | None, resource: str | None) -> None:
        super().__init__(code, message, reason, resource)
        self.code = code
        self.message = message
        self.reason = reason
        self.resource = resource

    def __str__(self) -> str:
        details = ", ".join(part for part in (self.reason, self.resource) if part)
        return f"{self.code}: {self.message}" + (f" ({details})" if details else "")
