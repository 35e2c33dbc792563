"""The reading side of the feed of lately revoked certificates (`pki.revocation.feed`): checks, and frozen values.

Specification: docs/decisions/0018; RFC 7515. Signed by a key that a known CA certified for OCSP. Nothing is fetched
here, and whether a certificate is good is not said: only a fresh CRL says that.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID

from authz.domain import base64url, strict_json
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.keys import spki_sha256

FEED_TYPE: Final = "certificate-revocations+jwt"
WINDOW: Final = timedelta(hours=2)
"""How long a revocation stands on the feed: twice the age that a CRL may have, so that by then every CRL has it."""
MAX_FEED_BYTES: Final = 4 * 1024 * 1024
_MAX_HEADER: Final = 16 * 1024
_SKEW: Final = timedelta(minutes=5)
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_PARTS: Final = 3
_SIGNATURE: Final = 64


@dataclass(frozen=True, slots=True)
class VerifiedFeed:
    """What a CA revoked lately.

    Attributes:
        issuer_key: hex SHA-256 of the subjectPublicKeyInfo of the CA.
        version: grows with every change.
        issued_at: when it was signed.
        revoked: `x5t#S256` -> moment after which the CRLs in use have it, UTC.
    """

    issuer_key: str
    version: int
    issued_at: datetime
    revoked: Mapping[str, datetime]


class FeedReader:
    """Verifies feeds of known CAs, and takes no older one after a newer.

    Args:
        issuers: DER certificates of the CAs.
    """

    def __init__(self, issuers: Sequence[bytes]) -> None:
        self._issuers = tuple(x509.load_der_x509_certificate(der) for der in issuers)
        self._seen: dict[str, tuple[int, datetime]] = {}

    def read(self, body: bytes, at: datetime) -> VerifiedFeed:
        """Check one feed.

        Args:
            body: as received.
            at: this moment, UTC.

        Raises:
            Refused: CRL_INVALID: malformed, of an unknown CA, wrongly signed, ended, or older than one read before.
        """
        if len(body) > MAX_FEED_BYTES:
            raise _invalid("it is too large")
        try:
            feed = self._verified(body, at)
        except Exception as error:  # whatever a parser says about hostile bytes means the same
            raise _invalid("it is malformed, or not signed by a known authority") from error
        seen = self._seen.get(feed.issuer_key)
        if seen is not None and (feed.version, feed.issued_at) < seen:
            raise _invalid("it is older than one that was read before")
        self._seen[feed.issuer_key] = (feed.version, feed.issued_at)
        return feed

    def _verified(self, body: bytes, at: datetime) -> VerifiedFeed:
        # 1. Form.
        parts = body.split(b".")
        if len(parts) != _PARTS:
            raise ValueError("not a compact JWS")
        header = strict_json.parse_object(base64url.decode(parts[0]), max_bytes=_MAX_HEADER, max_depth=3)
        if header.keys() != {"alg", "typ", "x5c"} or (header["alg"], header["typ"]) != ("ES256", FEED_TYPE):
            raise ValueError("another header than ours")
        [sent] = header["x5c"]
        # 2. The key: certified by a known CA for speaking about revocation, at this moment.
        signer = x509.load_der_x509_certificate(base64.b64decode(sent, validate=True))
        issuer = self._issuer_of(signer, at)
        # 3. The signature.
        signature = base64url.decode(parts[2])
        if len(signature) != _SIGNATURE:
            raise ValueError("not a signature of ES256")
        key = signer.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise ValueError("another key than ES256 has")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(encode_dss_signature(r, s), parts[0] + b"." + parts[1], ec.ECDSA(hashes.SHA256()))
        # 4. What it says.
        payload = strict_json.parse_object(base64url.decode(parts[1]), max_bytes=MAX_FEED_BYTES, max_depth=3)
        return _feed(payload, spki_sha256(issuer), at)

    def _issuer_of(self, signer: x509.Certificate, at: datetime) -> x509.Certificate:
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
            raise ValueError("not a key for this")
        if not signer.not_valid_before_utc <= at <= signer.not_valid_after_utc:
            raise ValueError("not at this moment")
        for issuer in self._issuers:
            if issuer.subject == signer.issuer:
                try:
                    signer.verify_directly_issued_by(issuer)
                except InvalidSignature:  # another CA of the same name
                    continue
                return issuer
        raise ValueError("of no known authority")


def _feed(payload: Mapping[str, Any], issuer_key: str, at: datetime) -> VerifiedFeed:
    times = [payload[name] for name in ("iat", "exp", "version")]
    if payload.keys() != {"iss", "iat", "exp", "version", "revoked"} or not all(type(item) is int for item in times):
        raise ValueError("other members than ours")
    issued, ends = (datetime.fromtimestamp(payload[name], UTC) for name in ("iat", "exp"))
    if payload["iss"] != issuer_key or not issued - _SKEW <= at < ends:
        raise ValueError("of another authority, or of another time")
    revoked = {name: datetime.fromtimestamp(until, UTC) for name, until in payload["revoked"].items()}
    if not all(_THUMBPRINT.fullmatch(name) for name in revoked):
        raise ValueError("not a thumbprint")
    return VerifiedFeed(issuer_key, payload["version"], issued, revoked)


def _invalid(what: str) -> Refused:
    return Refused(Reason.CRL_INVALID, f"The feed of revoked certificates is refused: {what}.")
