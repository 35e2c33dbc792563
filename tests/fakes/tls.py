"""A real TLS endpoint on the loopback, with any certificate, and a place to tamper with what it sends.

In threads with blocking sockets: what an endpoint does must not depend on the event loop under test.
"""

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.certificates import FakeAuthority, FakeCertificate

Serve = Callable[[socket.socket], None]
Tamper = Callable[[bytes], bytes | None]
_PATIENCE = 30.0


@contextmanager
def listening(serve: Serve, address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[int]:
    """Serve connections, by default on a free port, each in a thread; all have ended at the end."""
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE)
        with connection, contextlib.suppress(OSError, EOFError):
            serve(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(connection,)))
            threads[-1].start()

    with socket.create_server(address) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


class TlsEndpoint:
    """Accepts connections with the certificate that it has at that moment.

    Attributes:
        port: where it listens.
        connections: how many came.
        received: what clients sent after the handshake.
    """

    def __init__(
        self, certificate: FakeCertificate, version: ssl.TLSVersion, *, clients: FakeAuthority | None = None
    ) -> None:
        self._version = version
        self._clients = clients
        self._context = self._made(certificate)
        self.port = 0
        self.connections = 0
        self.received = b""

    def present(self, certificate: FakeCertificate) -> None:
        """Present another certificate from now on."""
        self._context = self._made(certificate)

    def offer(self, suites: str) -> None:
        """Take only these suites of TLS 1.2."""
        self._context.set_ciphers(suites)

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        with self._context.wrap_socket(connection, server_side=True) as tls:
            self.received += tls.recv(1024)

    def _made(self, certificate: FakeCertificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = self._version
        if self._clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self._clients.root.pem.decode())
        with tempfile.TemporaryDirectory() as folder:
            chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
            chain.write_bytes(certificate.chain_pem)
            key.write_bytes(certificate.key_pem)
            context.load_cert_chain(chain, key)
        return context


@contextmanager
def tls_endpoint(
    certificate: FakeCertificate,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    *,
    clients: FakeAuthority | None = None,
    address: tuple[str, int] = ("127.0.0.1", 0),
) -> Iterator[TlsEndpoint]:
    """An endpoint that runs.

    Args:
        certificate: what it presents.
        version: the only version that it speaks.
        clients: it requires a client certificate under this authority.
        address: where it listens, by default on a free port.
    """
    endpoint = TlsEndpoint(certificate, version, clients=clients)
    with listening(endpoint.serve, address) as endpoint.port:
        yield endpoint


@contextmanager
def in_the_middle(port: int, tamper: Tamper) -> Iterator[int]:
    """Passes connections on to `port`; each TLS record from there goes through `tamper`; None ends the connection."""

    def serve(near: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port), _PATIENCE) as far, far.makefile("rb") as records:

            def upwards() -> None:
                with contextlib.suppress(OSError):
                    while data := near.recv(4096):
                        far.sendall(data)
                    far.shutdown(socket.SHUT_WR)

            sending = threading.Thread(target=upwards)
            sending.start()
            with contextlib.suppress(OSError):
                while head := records.read(5):
                    record = tamper(head + records.read(int.from_bytes(head[3:], "big")))
                    if record is None:
                        break
                    near.sendall(record)
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)
            sending.join()

    with listening(serve) as listens:
        yield listens
