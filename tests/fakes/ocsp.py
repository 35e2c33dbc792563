"""OCSP answers of a `FakeAuthority`, good ones and others, signed with real keys."""

import base64
import threading
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.fakes.certificates import FakeAuthority, FakeCertificate, Odd


def answer(
    ca: FakeAuthority,
    leaf: FakeCertificate,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    at: datetime | None = None,
    signer: FakeCertificate | None = None,
    life: timedelta | None = timedelta(hours=2),
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    by, moment = signer or ca.issuing, at or ca.now
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf.certificate,
        ca.issuing.certificate,
        digest or hashes.SHA1(),  # noqa: S303  what responders use to name a certificate
        status,
        moment,
        None if life is None else moment + life,
        moment if revoked else None,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
    if signer is not None:
        builder = builder.certificates([signer.certificate])
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.DER)


def responder(
    ca: FakeAuthority, *, issuer: FakeCertificate | None = None, no_check: bool = True, eku: bool = True
) -> FakeCertificate:
    extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.OCSPNoCheck(), False)] if no_check else []
    purposes = [ExtendedKeyUsageOID.OCSP_SIGNING] if eku else [ExtendedKeyUsageOID.CLIENT_AUTH]
    return ca.issue(names=[], eku=purposes, issuer=issuer, odd=Odd(extensions))


class FakeResponder:
    """An OCSP responder over real HTTP, about the certificates that it was told of; `trouble` is a status instead."""

    def __init__(self, ca: FakeAuthority) -> None:
        self.ca = ca
        self.known: dict[int, tuple[FakeCertificate, ocsp.OCSPCertStatus]] = {}
        self.trouble = 0
        self.asked: list[int] = []
        responder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                question = base64.b64decode(unquote(self.path.rpartition("/")[2]))
                serial_number = ocsp.load_der_ocsp_request(question).serial_number
                responder.asked.append(serial_number)
                content = b"" if responder.trouble else responder.answer(serial_number)
                self.send_response(responder.trouble or 200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/ocsp"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def knows(self, leaf: FakeCertificate, status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD) -> None:
        self.known[leaf.certificate.serial_number] = (leaf, status)

    def answer(self, serial_number: int) -> bytes:
        if serial_number not in self.known:
            return b"\x30\x03\x0a\x01\x06"
        leaf, status = self.known[serial_number]
        return answer(self.ca, leaf, status)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
