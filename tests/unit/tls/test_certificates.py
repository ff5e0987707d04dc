"""The certificate's files: what is refused, and what a change does to new connections."""

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.certificates import Files
from trtserve.errors import InvalidInput
from trtserve.settings import Settings
from trtserve.tls.certificates import PROTOCOLS, Certificates


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The client's side after a handshake in memory; raises SSLError of either side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    assert len(done) == 2
    return theirs


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_trusts_the_authority_is_let_in(files: Files, protocol: str) -> None:
    certificates = Certificates(files.certificate, files.key)
    trust = files.trust()
    trust.set_alpn_protocols(list(PROTOCOLS))
    found = handshake(certificates.context(protocol), trust)
    assert found.selected_alpn_protocol() == protocol
    assert found.version() == "TLSv1.3"
    handshake(certificates.context(protocol), files.trust(version=ssl.TLSVersion.TLSv1_2))


def test_versions_that_are_broken_are_refused(files: Files) -> None:
    context = Certificates(files.certificate, files.key).context("h2")
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_one_file_may_hold_the_certificate_and_the_key(files: Files) -> None:
    files.certificate.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    handshake(Certificates(files.certificate).context("h2"), files.trust())


def test_clients_need_a_certificate_of_the_authority_that_is_given(files: Files) -> None:
    context = Certificates(files.certificate, files.key, files.client_ca).context("http/1.1")
    handshake(context, files.trust(files.clients))
    for stranger in (files.trust(), files.trust(trustme.CA()), files.trust(files.clients, expired=True)):
        with pytest.raises(ssl.SSLError):
            handshake(context, stranger)


def test_new_connections_get_the_new_certificate(files: Files) -> None:
    certificates = Certificates(files.certificate, files.key)
    former = files.trust()
    before = certificates.context("h2")
    files.authority = trustme.CA()
    files.write()
    certificates.reread()
    handshake(certificates.context("h2"), files.trust())
    with pytest.raises(ssl.SSLError):
        handshake(certificates.context("h2"), former)
    handshake(before, former)


def test_an_authority_of_clients_that_is_replaced_is_trusted_no_more(files: Files) -> None:
    certificates = Certificates(files.certificate, files.key, files.client_ca)
    former = files.trust(files.clients)
    handshake(certificates.context("h2"), former)
    files.clients = trustme.CA()
    files.write()
    certificates.reread()
    handshake(certificates.context("h2"), files.trust(files.clients))
    with pytest.raises(ssl.SSLError):
        handshake(certificates.context("h2"), files.trust(trustme.CA()))
    with pytest.raises(ssl.SSLError):
        handshake(certificates.context("h2"), former)


def other_key(files: Files) -> None:
    files.key.write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())


BAD: list[Any] = [
    other_key,
    lambda files: files.key.unlink(),
    lambda files: files.certificate.unlink(),
    lambda files: files.client_ca.unlink(),
    lambda files: files.key.write_bytes(b""),
    lambda files: files.certificate.write_bytes(files.certificate.read_bytes()[:200]),
    lambda files: files.client_ca.write_bytes(b"nothing"),
]


@pytest.mark.parametrize("spoil", BAD)
def test_files_that_turn_bad_change_nothing_and_are_told_once(
    files: Files, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(files.certificate, files.key, files.client_ca)
    trust = files.trust(files.clients)
    spoil(files)
    caplog.set_level(logging.INFO)
    for _ in range(3):
        certificates.reread()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    handshake(certificates.context("h2"), trust)
    files.write()
    certificates.reread()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    handshake(certificates.context("h2"), files.trust(files.clients))


@pytest.mark.parametrize("spoil", BAD)
def test_bad_files_are_refused_at_the_start_with_their_name(files: Files, spoil: Any) -> None:
    spoil(files)
    with pytest.raises(InvalidInput, match=str(files.folder)):
        Certificates(files.certificate, files.key, files.client_ca)


def test_a_key_with_a_passphrase_is_refused_without_a_prompt(files: Files) -> None:
    key = load_pem_private_key(files.key.read_bytes(), None)
    secret = BestAvailableEncryption(b"x")
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(InvalidInput, match="passphrase"):
        Certificates(files.certificate, files.key)


def test_there_is_no_tls_without_a_certificate(files: Files) -> None:
    assert Certificates.of(Settings()) is None
    certificates = Certificates.of(
        Settings(tls_certificate=files.certificate, tls_key=files.key, tls_client_ca=files.client_ca)
    )
    assert certificates is not None
    assert certificates.of_clients


@pytest.mark.parametrize("name", ["tls_key", "tls_client_ca"])
def test_a_key_or_an_authority_goes_with_a_certificate(name: str) -> None:
    with pytest.raises(ValueError, match="goes with a tls_certificate"):
        Settings.model_validate({name: "/a"})
