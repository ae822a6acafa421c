"""The files with the caller's proofs: what counts, when, and that nothing shows them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from replicas import Replica, wait_for

from tosend_keyservice import Allowed, Client, Misused

TOKEN = "tsend_" + "A" * 49
SECRET = "tsop_" + "B" * 49


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return file


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(ca: trustme.CA) -> Iterator[Replica]:
    """A replica that asks for a client's certificate."""
    certificate = ca.issue_cert("keys.test")
    credentials = grpc.ssl_server_credentials(
        [
            (
                certificate.private_key_pem.bytes(),
                b"".join(chain.bytes() for chain in certificate.cert_chain_pems),
            )
        ],
        ca.cert_pem.bytes(),
        require_client_auth=True,
    )
    with Replica(credentials=credentials) as replica:
        yield replica


def write_certificate(ca: trustme.CA, folder: Path) -> dict[str, Any]:
    certificate = ca.issue_cert("sender.test")
    (folder / "ca.pem").write_bytes(ca.cert_pem.bytes())
    (folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    (folder / "cert.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
    return {f"{name}_file": str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}


def test_calls_carry_the_secret_and_the_library_s_name(replica: Replica, secret_file: Path) -> None:
    with Client([replica.address], plaintext=True, secret_file=str(secret_file)) as client:
        client.authorize(TOKEN, "example.com")
    assert replica.metadata[0]["authorization"] == f"Bearer {SECRET}"
    assert replica.metadata[0]["user-agent"].startswith("tosend-keyservice-python/0.1.0 ")


def test_a_changed_secret_counts(replica: Replica, secret_file: Path) -> None:
    with Client([replica.address], plaintext=True, secret_file=str(secret_file)) as client:
        secret_file.write_text("tsop_other")

        def is_new() -> bool:
            client.authorize(TOKEN, "example.com")
            return bool(replica.metadata[-1]["authorization"] == "Bearer tsop_other")

        wait_for(is_new)


@pytest.mark.parametrize("bad", ["", f"{SECRET}\n{SECRET}"])
def test_a_bad_secret_changes_nothing_and_is_not_shown(
    replica: Replica, secret_file: Path, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    with Client([replica.address], plaintext=True, secret_file=str(secret_file)) as client:
        secret_file.write_text(bad)
        wait_for(lambda: caplog.records)
        client.authorize(TOKEN, "example.com")
        assert replica.metadata[-1]["authorization"] == f"Bearer {SECRET}"
        secret_file.unlink()
        wait_for(lambda: "cannot read" in caplog.text)
        client.authorize(TOKEN, "example.com")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert SECRET not in caplog.text
    with pytest.raises(Misused):
        Client([replica.address], plaintext=True, secret_file=str(secret_file))


@pytest.mark.parametrize(
    "bad", ["", "\n", f"{SECRET}\r\n{SECRET}", f"{SECRET}\0", f"{SECRET}é", "x" * 5_000]
)
def test_a_client_with_a_bad_secret_is_not_made(secret_file: Path, bad: str) -> None:
    secret_file.write_text(bad)
    with pytest.raises(Misused, match="bearer secret") as raised:
        Client(["127.0.0.1:1"], plaintext=True, secret_file=str(secret_file))
    assert SECRET not in str(raised.value)


def test_a_secret_is_not_sent_in_plain_text_to_another_machine(secret_file: Path) -> None:
    with pytest.raises(Misused, match="plain text"):
        Client(["192.0.2.1:1"], plaintext=True, secret_file=str(secret_file))


def test_nothing_prints_a_secret(replica: Replica, secret_file: Path) -> None:
    with Client([replica.address], plaintext=True, secret_file=str(secret_file)) as client:
        inner = client._client
        things = [client, inner, inner._pool, inner._pool._credentials]
        things += [client.authorize(TOKEN, "example.com"), *map(vars, things)]
        shown = " ".join(f"{thing} {thing!r}" for thing in things)
    assert SECRET not in shown
    assert TOKEN not in shown


def test_mutual_tls(secured: Replica, ca: trustme.CA, tmp_path: Path) -> None:
    files = write_certificate(ca, tmp_path)
    with Client([secured.address], server_name="keys.test", **files) as client:
        client.wait_until_ready()
        assert isinstance(client.authorize(TOKEN, "example.com"), Allowed)


def test_a_server_with_another_name_is_not_trusted(
    secured: Replica, ca: trustme.CA, tmp_path: Path
) -> None:
    with Client([secured.address], **write_certificate(ca, tmp_path)) as client:
        wait_for(lambda: "UNAVAILABLE" in client._client._pool.describe())
        assert secured.watches == 0


def test_new_certificates_make_new_connections(
    secured: Replica, ca: trustme.CA, tmp_path: Path
) -> None:
    files = write_certificate(ca, tmp_path)
    with Client([secured.address], server_name="keys.test", **files) as client:
        client.wait_until_ready()
        client.authorize(TOKEN, "example.com")
        write_certificate(ca, tmp_path)
        wait_for(lambda: secured.watches == 2)
        client.wait_until_ready()
        client.authorize(TOKEN, "example.com")
    assert len(secured.peers) == 2


def test_a_certificate_without_its_key_changes_nothing(
    secured: Replica, ca: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_certificate(ca, tmp_path)
    with Client([secured.address], server_name="keys.test", **files) as client:
        client.wait_until_ready()
        other = ca.issue_cert("other.test").private_key_pem.bytes()
        (tmp_path / "key.pem").write_bytes(other)
        wait_for(lambda: caplog.records)
        client.authorize(TOKEN, "example.com")
    assert secured.watches == 1
    assert "are not a certificate and its key" in caplog.text
    assert "PRIVATE" not in caplog.text
    with pytest.raises(Misused, match="not a certificate and its key"):
        Client([secured.address], server_name="keys.test", **files)


def test_the_system_s_authorities_are_trusted_without_a_file() -> None:
    with Client(["keys.invalid:1"]) as client:
        assert client._client._pool._credentials._system_roots.startswith(b"-----BEGIN")
