"""Asking the authority over TLS: a server that dribbles, is another one, or is not there; and what a person is told."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pki.holder.est_client import EstClient, EstError
from pki.holder.exchange import NotAnswered, Server, exchange
from pki.signing.signer import new_key
from tests.fakes.certificates import FakeAuthority
from tests.unit.pki.holder.test_renewal import WHO

Serve = Callable[..., int]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A TLS server on a port of its own, which sends what it is told, at the pace that it is told."""
    with contextlib.ExitStack() as stack:

        def start(ca: FakeAuthority, answer: bytes, *, pause: float = 0.0, **validity: object) -> int:
            leaf = ca.issue("uzovi:5000", dns=("pki.test",), **validity)  # type: ignore[arg-type]
            (tmp_path / "server.pem").write_bytes(leaf.chain_pem + leaf.key_pem)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tmp_path / "server.pem")
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stopped = threading.Event()
            stack.callback(stopped.set)

            def work() -> None:
                while not stopped.is_set():
                    try:
                        plain, _ = listening.accept()
                        with context.wrap_socket(plain, server_side=True) as stream:
                            _read_request(stream)
                            for sign in answer if pause else [answer]:
                                stream.sendall(bytes([sign]) if isinstance(sign, int) else sign)
                                if stopped.wait(pause):
                                    return
                    except OSError:
                        continue

            threading.Thread(target=work, daemon=True).start()
            return int(listening.getsockname()[1])

        yield start


def _read_request(stream: ssl.SSLSocket) -> None:
    """All of it: with a rest unread, closing would reset the connection under the answer."""
    request = b""
    while b"\r\n\r\n" not in request and (got := stream.recv(65_536)):
        request += got
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < sum(map(int, lengths)) and (got := stream.recv(65_536)):
        body += got


def authority() -> FakeAuthority:
    """Of this moment: TLS has no clock but the machine's."""
    return FakeAuthority(now=datetime.now(UTC))


def _context(ca: FakeAuthority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.root.pem.decode())


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_an_answer_comes_whole(serve: Serve) -> None:
    ca = authority()
    server = Server.parse(f"https://127.0.0.1:{serve(ca, OK)}", "pki.test")
    answer = exchange(server, _context(ca), "GET", "/x")
    assert (answer.status, answer.content) == (200, b"hi")


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 900])
def test_who_dribbles_is_not_waited_for(serve: Serve, answer: bytes) -> None:
    ca = authority()
    server = Server.parse(f"https://127.0.0.1:{serve(ca, answer, pause=0.1)}", "pki.test")
    begun = time.monotonic()
    with pytest.raises(NotAnswered, match=r"no whole answer from .* within 1 seconds"):
        exchange(server, _context(ca), "GET", "/x", seconds=1.0)
    assert time.monotonic() - begun < 30  # the long one would take a minute and a half


def test_an_answer_that_never_ends_is_too_large(serve: Serve) -> None:
    ca = authority()
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 600_000
    server = Server.parse(f"https://127.0.0.1:{serve(ca, endless)}", "pki.test")
    with pytest.raises(NotAnswered, match="too large"):
        exchange(server, _context(ca), "GET", "/x")


def test_each_way_in_which_a_server_is_another_one_has_its_words(serve: Serve) -> None:
    ca, other = authority(), authority()
    url = f"https://127.0.0.1:{serve(ca, OK)}"
    key = new_key("ec-p256")
    for client, words in (
        (EstClient(url, ca.root.pem, "elsewhere.test"), "for another name than elsewhere.test"),
        (EstClient(url, ca.root.pem), "for another name than 127.0.0.1"),
        (EstClient(url, other.root.pem, "pki.test"), "--ca is not the root that signed"),
    ):
        with pytest.raises(EstError, match=words):
            client.enrol(WHO, "code", key)
    past = ca.issue("uzovi:5000").certificate.not_valid_before_utc
    old = serve(ca, OK, not_before=past - timedelta(days=400), not_after=past - timedelta(days=300))
    with pytest.raises(NotAnswered, match="has expired"):
        exchange(Server.parse(f"https://127.0.0.1:{old}", "pki.test"), _context(ca), "GET", "/x")


def test_nothing_listens_and_something_else_listens(tmp_path: Path) -> None:
    del tmp_path
    ca = authority()
    with socket.socket() as taken:  # so that nobody else listens there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(NotAnswered, match=f"nothing listens on https://127.0.0.1:{port}"):
            exchange(Server.parse(f"https://127.0.0.1:{port}"), _context(ca), "GET", "/x")
    with pytest.raises(NotAnswered, match="finds no address"):
        exchange(Server.parse("https://no-such-name.invalid"), _context(ca), "GET", "/x")
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def shout() -> None:
            stream, _ = plain.accept()
            with stream:
                stream.recv(65_536)  # all of it: a rest would reset the connection under the answer
                stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=shout, daemon=True).start()
        with pytest.raises(NotAnswered, match="does not speak TLS"):
            exchange(Server.parse(f"https://127.0.0.1:{plain.getsockname()[1]}"), _context(ca), "GET", "/x")


@pytest.mark.parametrize(
    ("status", "body", "reason", "refused"),
    [
        (b"401 Unauthorized", b"code_unknown: The code is not valid.", "code_unknown", True),
        (b"409 Conflict", b"renewal_underway: Until tomorrow.", "renewal_underway", True),
        (b"403 Forbidden", b"<html>: no\x1b[31m", "", True),
        (b"503 Unavailable", b"Please: wait", "", False),
        (b"202 Accepted", b"code_pending: Ask later.", "code_pending", False),
    ],
)
def test_the_reason_of_the_server_is_told(
    status: bytes,
    body: bytes,
    reason: str,
    refused: bool,  # noqa: FBT001
    serve: Serve,
) -> None:
    ca = authority()
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    client = EstClient(f"https://127.0.0.1:{serve(ca, answer)}", ca.root.pem, "pki.test")
    with pytest.raises(EstError) as caught:
        client.enrol(WHO, "code", new_key("ec-p256"))
    assert (caught.value.reason, caught.value.refused) == (reason, refused)
    assert str(caught.value).isprintable()
    assert body.split(b": ")[1].decode().replace("\x1b", "") in str(caught.value)
