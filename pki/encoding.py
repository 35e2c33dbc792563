"""Certificates and CRLs as exact bytes: what is to be signed, and the result with its signature.

Specification: RFC 5280 sections 4.1 and 5.1; ITU-T X.690 (DER). Building and signing are apart because keys hide behind
`Signer.sign(bytes)`: pyca/cryptography builds only with a private key in memory, which an HSM does not give. Says
nothing about what ought to be in a certificate; that is `pki.profiles` and `pki.lint`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asn1crypto import algos, core
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_UTC_TIME_ENDS: Final = 2050
"""RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from then on."""


@dataclass(frozen=True, slots=True)
class ToBeSigned:
    """The fields of a certificate, before its signature."""

    serial_number: int
    algorithm: str
    issuer: x509.Name
    subject: x509.Name
    public_key: bytes
    not_before: datetime
    not_after: datetime
    extensions: Sequence[tuple[x509.ExtensionType, bool]]

    def encode(self) -> bytes:
        """DER of the TBSCertificate."""
        fields = [
            _tlv(0xA0, core.Integer(2).dump()),  # v3
            core.Integer(self.serial_number).dump(),
            _algorithm(self.algorithm),
            self.issuer.public_bytes(),
            _tlv(0x30, _time(self.not_before) + _time(self.not_after)),
            self.subject.public_bytes(),
            self.public_key,
            _tlv(0xA3, _extensions(self.extensions)),
        ]
        return _tlv(0x30, b"".join(fields))


def join_certificate(tbs: bytes, algorithm: str, signature: bytes) -> bytes:
    """DER of the certificate: the signed bytes, exactly as they were signed, the algorithm and the signature."""
    return _signed(tbs, algorithm, signature)


@dataclass(frozen=True, slots=True)
class CrlEntry:
    """One revoked certificate.

    Attributes:
        serial_number: of the certificate.
        revoked_at: UTC.
        reason: RFC 5280 section 5.3.1 code; 0 (unspecified) is left out, as that section asks.
    """

    serial_number: int
    revoked_at: datetime
    reason: int


def encode_crl_tbs(
    *,
    algorithm: str,
    issuer: x509.Name,
    this_update: datetime,
    next_update: datetime,
    entries: Iterable[CrlEntry],
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> bytes:
    """DER of the TBSCertList. Entries are written by hand: 100,000 of them have to fit in two seconds."""
    fields = [
        core.Integer(1).dump(),  # v2
        _algorithm(algorithm),
        issuer.public_bytes(),
        _time(this_update),
        _time(next_update),
    ]
    listed = b"".join(_entry(entry) for entry in entries)
    if listed:  # RFC 5280 section 5.1.2.6: absent when nothing is revoked
        fields.append(_tlv(0x30, listed))
    fields.append(_tlv(0xA0, _extensions(extensions)))
    return _tlv(0x30, b"".join(fields))


def join_crl(tbs: bytes, algorithm: str, signature: bytes) -> bytes:
    """DER of the CRL."""
    return _signed(tbs, algorithm, signature)


def pem_chain(certificates: Sequence[bytes]) -> str:
    """DER certificates as one PEM text, in order."""
    return "".join(
        x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii") for der in certificates
    )


def _signed(tbs: bytes, algorithm: str, signature: bytes) -> bytes:
    return _tlv(0x30, tbs + _algorithm(algorithm) + _tlv(0x03, b"\x00" + signature))


def _entry(entry: CrlEntry) -> bytes:
    serial = entry.serial_number.to_bytes(entry.serial_number.bit_length() // 8 + 1, "big")
    body = _tlv(0x02, serial) + _tlv(0x17, entry.revoked_at.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    if entry.reason:
        body += _REASONS[entry.reason]
    return _tlv(0x30, body)


def _tlv(tag: int, body: bytes) -> bytes:
    """Tag, definite length, value (X.690 section 8.1, 10.1)."""
    length = len(body)
    if length < 0x80:  # noqa: PLR2004  the short form
        return bytes((tag, length)) + body
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def _extensions(extensions: Sequence[tuple[x509.ExtensionType, bool]]) -> bytes:
    return _tlv(0x30, b"".join(_extension(item, critical) for item, critical in extensions))


def _extension(item: x509.ExtensionType, critical: bool) -> bytes:  # noqa: FBT001  as the pairs come
    said = core.Boolean(value=True).dump() if critical else b""  # X.690 section 11.5: a default is left out
    oid = core.ObjectIdentifier(item.oid.dotted_string).dump()
    return _tlv(0x30, oid + said + _tlv(0x04, item.public_bytes()))


def _algorithm(name: str) -> bytes:
    return bytes(algos.SignedDigestAlgorithm({"algorithm": name}).dump())


def _time(moment: datetime) -> bytes:
    whole = moment.replace(microsecond=0)
    kind = core.UTCTime if whole.year < _UTC_TIME_ENDS else core.GeneralizedTime
    return bytes(kind(whole).dump())


def _reason_extension(code: int) -> bytes:
    # crlEntryExtensions: reasonCode 2.5.29.21, not critical, ENUMERATED.
    extension = _tlv(0x30, b"\x06\x03\x55\x1d\x15" + _tlv(0x04, bytes((0x0A, 0x01, code))))
    return _tlv(0x30, extension)


_REASONS: Final = {code: _reason_extension(code) for code in (1, 2, 3, 4, 5, 6, 9, 10)}
