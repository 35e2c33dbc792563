"""The client certificate as Envoy hands it over in `x-forwarded-client-cert` (XFCC).

Specification: Envoy, "HTTP header sanitizing" and "x-forwarded-client-cert"; shared `cases/oauth.md` 33-40. Envoy
removes what a client sends under this name and writes its own (SANITIZE_SET), so the value can only come from Envoy,
as long as the service listens on a Unix socket that only Envoy reaches. Reading it is strict all the same: one
element, the three keys that we configured, Envoy's own way of escaping, and a hash that fits.

This module does **not** check trust, validity or revocation: `pki.validation.validator` does.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from authz.domain import base64url
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.edge.recent import Recent

XFCC_HEADER: Final = "x-forwarded-client-cert"
EDGE_VERIFIED_HEADER: Final = "x-sluis-peer-verified"
"""Set to "1" by our own Envoy, only when it verified the certificate against its CA bundle and CRLs."""
PEER_ADDRESS_HEADER: Final = "x-sluis-peer-address"
"""The address of the connection itself; `x-forwarded-for` is never trusted."""
RAW_PATH_HEADER: Final = "x-sluis-path"
"""Path and query as they reached Envoy (after its own normalisation, if that is on); servers behind it decode more."""
LISTENER_HEADER: Final = "x-sluis-listener"
"""The name of the listener on which the request came in."""

MAX_XFCC_LENGTH: Final = 64 * 1024
"""Characters. A chain of five RSA-4096 certificates stays under 30 kB escaped."""
MAX_CHAIN: Final = 5
"""Certificates that a client may send, its own included (cases/oauth.md 39)."""

MAX_KEPT_XFCC: Final = 16 * 1024
"""Characters of a header whose certificates are kept, at most 12 kB of them; what real deelnemers send is shorter."""

# Envoy escapes exactly these five characters of a PEM text; whatever else is escaped did not come from Envoy.
_XFCC = re.compile(r'Hash=([0-9a-f]{64});Cert="([A-Za-z0-9%-]+)";Chain="([A-Za-z0-9%-]+)"')
_ESCAPES: Final = (("%0A", "\n"), ("%20", " "), ("%2B", "+"), ("%2F", "/"), ("%3D", "="))
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)\n-----END CERTIFICATE-----\n")


def peer_address(header: str | None) -> str | None:
    """The IP address in `PEER_ADDRESS_HEADER`: Envoy writes `192.0.2.1:4711` or `[2001:db8::1]:4711`."""
    address, _, _ = (header or "").rpartition(":")
    return address.strip("[]") or None


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """What the client presented in the TLS handshake; nothing about it is trusted yet.

    Attributes:
        leaf_der: the client's certificate.
        chain_der: the certificates it sent along, without its own.
        thumbprint: base64url SHA-256 of the leaf, as in `cnf.x5t#S256` (RFC 8705 section 3.1).
    """

    leaf_der: bytes
    chain_der: tuple[bytes, ...]
    thumbprint: str


def parse_xfcc(header: str | None) -> PresentedCertificate:
    """Read Envoy's header.

    Args:
        header: the value of `x-forwarded-client-cert`; None or empty when there is none.

    Raises:
        Refused: CERTIFICATE_MISSING when no certificate was presented; CERTIFICATE_MALFORMED for everything that our
            own Envoy would not have written.
    """
    if not header:
        raise Refused(Reason.CERTIFICATE_MISSING, "a client certificate is required")
    match = _XFCC.fullmatch(header) if len(header) <= MAX_XFCC_LENGTH else None
    if match is None:
        # Envoy writes only `Hash` for a connection without a certificate behind another proxy, never for ours.
        raise _malformed()
    leaf = _certificates(match[2])
    chain = _certificates(match[3])
    if len(leaf) != 1 or len(chain) > MAX_CHAIN or chain[0] != leaf[0]:
        raise _malformed()
    digest = hashlib.sha256(leaf[0]).digest()
    if digest.hex() != match[1]:
        raise _malformed()
    thumbprint = base64url.encode(digest)
    return PresentedCertificate(leaf[0], tuple(chain[1:]), thumbprint)


def digest_of(xfcc: str) -> bytes:
    """SHA-256 of the header: what is remembered of one goes by this, and not by a text of 64 kB."""
    return hashlib.sha256(xfcc.encode("utf-8", "surrogatepass")).digest()


class KnownCertificates:
    """What was read of certificates that were accepted, so that the same header is not read again.

    Nothing here says that a certificate still counts; that is decided anew for each request. A caller keeps one only
    after its validation: what a stranger can make for himself takes no memory and pushes out nobody.

    Args:
        limit: certificates that are kept.
    """

    def __init__(self, limit: int) -> None:
        self._read: Recent[bytes, PresentedCertificate] = Recent(limit)

    def find(self, xfcc: str) -> PresentedCertificate | None:
        """What was read of this very header, if it is kept."""
        return self._read.get(digest_of(xfcc))

    def keep(self, xfcc: str, certificate: PresentedCertificate) -> None:
        """Keep it, unless the header is longer than any that deelnemers need."""
        if len(xfcc) <= MAX_KEPT_XFCC:
            self._read.put(digest_of(xfcc), certificate)

    def forget(self, xfcc: str) -> None:
        """It is not accepted any more."""
        self._read.discard(digest_of(xfcc))

    def __len__(self) -> int:
        return len(self._read)


def _certificates(escaped: str) -> list[bytes]:
    text = escaped
    for code, character in _ESCAPES:
        text = text.replace(code, character)
    if "%" in text:
        raise _malformed()
    found = []
    position = 0
    while position < len(text):
        match = _PEM.match(text, position)
        if match is None:
            raise _malformed()
        try:
            found.append(base64.b64decode(match[1].replace("\n", ""), validate=True))
        except binascii.Error:
            raise _malformed() from None
        position = match.end()
    return found


def _malformed() -> Refused:
    return Refused(Reason.CERTIFICATE_MALFORMED, "the client certificate could not be read")
