"""Who the caller is: the files with its proofs, which are read again when they change.

A file with an error changes nothing: the library goes on with what the file held before,
and logs a warning. No text from a file is ever in an error or a log.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import grpc

from .errors import Misused

_log = logging.getLogger(__package__)

_MAX_SECRET_BYTES: Final = 4096


class Credentials:
    """The proofs of a caller, and the authorities that it trusts.

    Whoever prints this object sees nothing of what the files hold.
    """

    def __init__(
        self,
        *,
        plaintext: bool,
        ca_file: str | None,
        cert_file: str | None,
        key_file: str | None,
        secret_file: str | None,
    ) -> None:
        if plaintext and (ca_file or cert_file or key_file):
            raise Misused("plaintext=True and files for TLS exclude each other")
        if (cert_file is None) != (key_file is None):
            raise Misused("cert_file and key_file belong together: give both or neither")
        self.plaintext = plaintext
        self._has_ca_file = ca_file is not None
        self._has_certificate = cert_file is not None
        self._secret = _Files([secret_file] if secret_file else [], _check_secret)
        tls_files = [file for file in (ca_file, cert_file, key_file) if file]
        self._tls = _Files(tls_files, lambda _: _check_tls(ca_file, cert_file, key_file))
        self._system_roots = b"" if plaintext or ca_file else _read_system_roots()

    def refresh(self) -> bool:
        """Reads the files again. True: connections need the new certificates."""
        self._secret.refresh()
        return self._tls.refresh()

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """What each call says about its caller."""
        return [
            ("authorization", f"Bearer {secret.strip().decode('ascii')}")
            for secret in self._secret.contents
        ]

    @property
    def send_secret_in_plain_text(self) -> bool:
        """Whether calls must not leave this machine."""
        return self.plaintext and bool(self._secret.contents)

    @property
    def has_files(self) -> bool:
        """Whether there is anything to read again."""
        return bool(self._secret.contents or self._tls.contents)

    def for_channel(self) -> grpc.ChannelCredentials:
        """What a new channel needs for TLS."""
        files = iter(self._tls.contents)
        return grpc.ssl_channel_credentials(
            root_certificates=next(files) if self._has_ca_file else self._system_roots,
            certificate_chain=next(files) if self._has_certificate else None,
            private_key=next(files) if self._has_certificate else None,
        )


class _Files:
    """Files whose contents count once they have been checked."""

    def __init__(self, paths: Sequence[str], check: Callable[[Sequence[bytes]], None]) -> None:
        self._paths = paths
        self._check = check
        self._reported = ""
        self.contents = self._read()
        self._check_read(self.contents)

    def refresh(self) -> bool:
        """Reads the files again. True if they hold something new and good."""
        try:
            contents = self._read()
            changed = contents != self.contents
            if changed:
                self._check_read(contents)
        except Misused as error:
            if str(error) != self._reported:
                _log.warning("%s. The library goes on with what it had before.", error)
            self._reported = str(error)
            return False
        self._reported = ""
        self.contents = contents
        return changed

    def _check_read(self, contents: Sequence[bytes]) -> None:
        self._check(contents)
        # A check that reads the files by itself may have seen others.
        if self._read() != contents:
            raise Misused(f"{', '.join(self._paths)}: changed while it was read")

    def _read(self) -> Sequence[bytes]:
        try:
            return [Path(path).read_bytes() for path in self._paths]
        except OSError as error:
            raise Misused(f"cannot read {error.filename}: {error.strerror}") from None


def _check_secret(contents: Sequence[bytes]) -> None:
    for content in contents:
        secret = content.strip()
        if not secret:
            raise Misused("the file with the bearer secret is empty")
        if len(secret) > _MAX_SECRET_BYTES or not all(0x21 <= byte <= 0x7E for byte in secret):
            raise Misused(
                "the file with the bearer secret must hold nothing else, "
                f"on one line of at most {_MAX_SECRET_BYTES} visible ASCII characters"
            )


def _check_tls(ca_file: str | None, cert_file: str | None, key_file: str | None) -> None:
    """Checks by the standard library's ssl, as gRPC itself finds errors only when it connects."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:
        raise Misused(f"{ca_file} does not hold certificates in PEM{_why(error)}") from None
    try:
        if cert_file:
            # Without a password, ssl would ask for that of an encrypted key at the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
    except (OSError, ValueError) as error:
        raise Misused(
            f"{cert_file} and {key_file} are not a certificate and its key, unencrypted, "
            f"in PEM{_why(error)}"
        ) from None


def _why(error: OSError | ValueError) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return f" ({reason})" if reason else ""


def _read_system_roots() -> bytes:
    """The authorities that the system trusts. gRPC would take a list of its own."""
    context = ssl.create_default_context()
    roots = [ssl.DER_cert_to_PEM_cert(root) for root in context.get_ca_certs(binary_form=True)]
    folder = ssl.get_default_verify_paths().capath
    if not roots and folder:
        roots = [file.read_text() for file in sorted(Path(folder).glob("*.pem"))]
    if not roots:
        raise Misused("the system has no list of certificate authorities: give ca_file")
    return "".join(roots).encode()
