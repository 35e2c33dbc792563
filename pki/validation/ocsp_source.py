"""One question to one OCSP responder over HTTP: what comes back is bytes that nobody has believed yet.

Specification: RFC 6960 appendix A; RFC 5019 section 5 (GET while it is short, so that caches can answer). The URL comes
from the settings and never from a certificate (cases/oauth.md 74); redirects are not followed, no proxy of the
environment is used, and size and time are capped. Verifying the answer is `pki.validation.ocsp_store`'s work.
"""

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from authz.domain.errors import SluisError
from pki.keys import spki_sha256
from pki.validation.ocsp_store import MAX_OCSP_BYTES, key_bits

TIMEOUT: Final = 10.0
"""Seconds for a whole exchange, however slowly the bytes drip."""
MAX_GET: Final = 255
"""Octets of a URL up to which RFC 5019 section 5 wants GET."""
MAX_RETRY_AFTER: Final = 600.0
_ERROR: Final = re.compile(rb"\x30\x03\x0a\x01([\x01-\x06])", re.DOTALL)
_NAMES: Final = {1: "malformedRequest", 2: "internalError", 3: "tryLater", 5: "sigRequired", 6: "unauthorized"}
_NOT_UNDERSTOOD: Final = frozenset({1, 2, 6})
"""What responders say that know no SHA-256 in a question, as RFC 5019 did not."""


class NotAnswered(SluisError):  # noqa: N818  it says what is the matter
    """The responder gave no answer. The text names what happened, with nothing of what it sent.

    Attributes:
        after: seconds that it asked to be left alone, at most `MAX_RETRY_AFTER`.
    """

    def __init__(self, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.after = after


@dataclass(frozen=True, slots=True)
class OcspSource:
    """Where answers about the certificates of one CA come from.

    Attributes:
        url: of the responder, from the settings.
        issuer: DER certificate of the CA.
        max_age: how old an answer may be when it decides.
    """

    url: str
    issuer: bytes
    max_age: timedelta = timedelta(hours=1)

    @property
    def issuer_key(self) -> str:
        """Hex SHA-256 of the key of the CA."""
        return spki_sha256(x509.load_der_x509_certificate(self.issuer))


def question_about(issuer: x509.Certificate, serial_number: int, digest: hashes.HashAlgorithm) -> bytes:
    """DER of the question about one certificate, without nonce, so that a responder may have answered it before."""
    name = hashlib.new(digest.name, issuer.subject.public_bytes()).digest()
    key = hashlib.new(digest.name, key_bits(issuer)).digest()
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, serial_number, digest)
    return builder.build().public_bytes(Encoding.DER)


class Asker:
    """Asks one responder.

    Args:
        source: where.
        client: HTTP client, owned by the caller.
    """

    def __init__(self, source: OcspSource, client: httpx.AsyncClient) -> None:
        self._url = source.url
        self._issuer = x509.load_der_x509_certificate(source.issuer)
        self._client = client
        self._digest: hashes.HashAlgorithm = hashes.SHA256()

    async def ask(self, serial_number: int) -> bytes:
        """DER of what should be an answer about a certificate.

        Raises:
            NotAnswered: no answer, another status than 200, too large, too slow, or an error of the protocol.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._exchange(serial_number)
                error = _ERROR.fullmatch(answer)
                if error is not None and error[1][0] in _NOT_UNDERSTOOD and self._digest.name == "sha256":
                    self._digest = hashes.SHA1()  # noqa: S303  finds the CA there, and protects nothing
                    answer = await self._exchange(serial_number)
                    error = _ERROR.fullmatch(answer)
                    if error is not None:
                        self._digest = hashes.SHA256()
        except TimeoutError:
            raise NotAnswered(f"no answer within {TIMEOUT:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise NotAnswered(f"no answer ({type(problem).__name__})") from None
        if error is not None:
            raise NotAnswered(f"answers {_NAMES.get(error[1][0], 'an error')}")
        return answer

    async def _exchange(self, serial_number: int) -> bytes:
        der = question_about(self._issuer, serial_number, self._digest)
        url = f"{self._url.rstrip('/')}/{quote(base64.b64encode(der).decode('ascii'), safe='')}"
        headers = {"accept": "application/ocsp-response", "accept-encoding": "identity"}
        if len(url) <= MAX_GET:
            request = self._client.build_request("GET", url, headers=headers)
        else:
            headers["content-type"] = "application/ocsp-request"
            request = self._client.build_request("POST", self._url, headers=headers, content=der)
        answer = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            if answer.status_code != httpx.codes.OK:
                raise NotAnswered(f"answers {answer.status_code}", _retry_after(answer.headers.get("retry-after", "")))
            content = bytearray()
            async for part in answer.aiter_raw():
                content += part
                if len(content) > MAX_OCSP_BYTES:
                    raise NotAnswered(f"sends more than {MAX_OCSP_BYTES} octets")
            return bytes(content)
        finally:
            await answer.aclose()


def _retry_after(text: str) -> float:
    """Seconds (RFC 9110 section 10.2.3); a date, which responders do not use, is nothing."""
    return min(float(text), MAX_RETRY_AFTER) if re.fullmatch(r"[0-9]{1,9}", text) else 0.0
