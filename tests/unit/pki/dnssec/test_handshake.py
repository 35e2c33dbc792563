"""What an endpoint presents is seen without a client certificate, and only from who holds the key."""

import socket
import ssl
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pki.dnssec import handshake as handshakes
from pki.dnssec.handshake import NotReached, handshake, looking_context
from tests.fakes.certificates import FakeAuthority
from tests.fakes.tls import in_the_middle, listening, tls_endpoint

HOST = "agent.ciz.nl"
AUTHORITY = FakeAuthority(now=datetime.now(UTC))  # TLS has no clock but the machine's
LEAF = AUTHORITY.issue("uzovi:5000", dns=(HOST,))
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
_SERVER_KEY_EXCHANGE = 12


async def look(port: int) -> tuple[bytes, ...]:
    return await handshake(("127.0.0.1", port), HOST, looking_context())


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("required", [False, True], ids=["no client certificate", "client certificate required"])
async def test_the_chain_is_seen_and_nothing_is_sent(version: ssl.TLSVersion, *, required: bool) -> None:
    with tls_endpoint(LEAF, version, clients=AUTHORITY if required else None) as endpoint:
        assert await look(endpoint.port) == (LEAF.der, *LEAF.chain_der)
    assert (endpoint.connections, endpoint.received) == (1, b"")


async def test_a_certificate_without_its_key_is_not_seen() -> None:
    """TLS 1.2 shows certificates in the clear: anybody can repeat them, but not sign this handshake."""

    def forged(record: bytes) -> bytes:
        return record[:-1] + bytes([record[-1] ^ 1]) if record[5] == _SERVER_KEY_EXCHANGE else record

    def cut(record: bytes) -> bytes | None:
        return None if record[5] == _SERVER_KEY_EXCHANGE else record

    with tls_endpoint(LEAF, TLS_1_2, clients=AUTHORITY) as endpoint:
        with in_the_middle(endpoint.port, lambda record: record) as port:
            assert await look(port) == (LEAF.der, *LEAF.chain_der)
        for tamper in (forged, cut):
            with in_the_middle(endpoint.port, tamper) as port, pytest.raises(NotReached):
                await look(port)


async def test_a_context_that_verifies_refuses_another_name_before_anything_is_returned() -> None:
    context = ssl.create_default_context(cadata=AUTHORITY.root.pem.decode())
    for version in (TLS_1_2, TLS_1_3):
        with tls_endpoint(LEAF, version, clients=AUTHORITY) as endpoint:
            address = ("127.0.0.1", endpoint.port)
            assert (await handshake(address, HOST, context))[0] == LEAF.der
            with pytest.raises(NotReached, match="certificate is refused"):
                await handshake(address, "other.ciz.nl", context)


async def test_old_versions_are_not_spoken() -> None:
    def server_hello(connection: socket.socket) -> None:
        hello = bytes([2, 0, 0, 38, 3, 2]) + bytes(32) + b"\x00" + b"\xc0\x13" + b"\x00"
        connection.sendall(b"\x16\x03\x02" + len(hello).to_bytes(2, "big") + hello)
        connection.recv(1024)

    with listening(server_hello) as port, pytest.raises(NotReached, match="handshake"):
        await look(port)


async def test_a_server_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.recv(1024)

    def silence(connection: socket.socket) -> None:
        while connection.recv(1024):
            pass

    def drip(connection: socket.socket) -> None:
        # A record that is never whole.
        connection.sendall(b"\x16\x03\x03\x40\x00")
        while True:
            connection.sendall(b"\x02")

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"\x16\x03\x03\x40\x00" + bytes(1024))
        while True:
            connection.sendall(bytes(65536))

    def page(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    monkeypatch.setattr(handshakes, "TIMEOUT", 0.3)
    for act in (hang_up, silence, drip, flood, page):
        with listening(act) as port, pytest.raises(NotReached):
            await look(port)


async def test_more_bytes_than_a_handshake_needs_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "MAX_BYTES", 200)
    with tls_endpoint(LEAF, TLS_1_2) as endpoint, pytest.raises(NotReached, match="more than 200 bytes"):
        await look(endpoint.port)


async def test_a_key_exchange_without_a_signature_or_with_a_group_of_any_size_is_not_offered() -> None:
    offered = {suite["name"] for suite in looking_context().get_ciphers() if suite["protocol"] != "TLSv1.3"}
    assert offered
    assert all(name.startswith("ECDHE-") for name in offered)
    leaf = AUTHORITY.issue("uzovi:5000", dns=(HOST,), key=rsa.generate_private_key(65537, 2048))
    for suites, seen in (("ECDHE+AESGCM", True), ("AES128-GCM-SHA256", False), ("DHE-RSA-AES128-GCM-SHA256", False)):
        with tls_endpoint(leaf, TLS_1_2) as endpoint:
            endpoint.offer(suites)
            if seen:
                assert (await look(endpoint.port))[0] == leaf.der
                continue
            with pytest.raises(NotReached, match="handshake"):
                await look(endpoint.port)
