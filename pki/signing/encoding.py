"""Certificates and CRLs as exact bytes: what is to be signed, and the result with its signature.

Specification: RFC 5280 sections 4.1 and 5.1; ITU-T X.690 (DER). Building and signing are apart because keys hide behind
`Signer.sign(bytes)`: pyca/cryptography builds only with a private key in memory, which an HSM does not give. Says
nothing about what ought to be in a certificate; that is `pki.profiles` and `pki.lint.system`.
"""

from collections.abc import Sequence
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


def encode_crl_entry(entry: CrlEntry) -> bytes:
    """DER of one revokedCertificates entry. Written by hand: 100,000 of them have to fit in two seconds."""
    body = _serial(entry.serial_number) + _utc_time(entry.revoked_at)
    if entry.reason:
        body += _REASONS[entry.reason]
    return _tlv(0x30, body)


@dataclass(frozen=True, slots=True)
class CrlEnds:
    """What stands around the entries of a CRL: `before` them and `after` them, before it is signed."""

    before: bytes
    after: bytes

    def to_be_signed(self, listed: Sequence[bytes]) -> tuple[bytes, ...]:
        """DER of the TBSCertList, in pieces: copying megabytes of entries takes longer than hashing them."""
        return (self._opening(_size(listed)), *listed, self.after)

    def sign(self, listed: Sequence[bytes], algorithm: str, signature: bytes) -> tuple[bytes, bytes]:
        """What stands before and after `listed` in the signed CRL."""
        opening = self._opening(_size(listed))
        tail = self.after + _algorithm(algorithm) + _tlv(0x03, b"\x00" + signature)
        return _header(0x30, len(opening) + _size(listed) + len(tail)) + opening, tail

    def _opening(self, size: int) -> bytes:
        # RFC 5280 section 5.1.2.6: the list is absent when nothing is revoked.
        fields = self.before + _header(0x30, size) if size else self.before
        return _header(0x30, len(fields) + size + len(self.after)) + fields


def encode_crl_ends(
    *,
    algorithm: str,
    issuer: x509.Name,
    this_update: datetime,
    next_update: datetime,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> CrlEnds:
    """The fields of a TBSCertList besides its entries, which are long and known already."""
    before = (
        core.Integer(1).dump(),  # v2
        _algorithm(algorithm),
        issuer.public_bytes(),
        _time(this_update),
        _time(next_update),
    )
    return CrlEnds(b"".join(before), _tlv(0xA0, _extensions(extensions)))


def pem_chain(certificates: Sequence[bytes]) -> str:
    """DER certificates as one PEM text, in order."""
    return "".join(
        x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii") for der in certificates
    )


def _signed(tbs: bytes, algorithm: str, signature: bytes) -> bytes:
    return _tlv(0x30, tbs + _algorithm(algorithm) + _tlv(0x03, b"\x00" + signature))


def _size(pieces: Sequence[bytes]) -> int:
    return sum(map(len, pieces))


def _serial(number: int) -> bytes:
    size = number.bit_length() // 8 + 1
    return bytes((0x02, size)) + number.to_bytes(size, "big")


def _utc_time(moment: datetime) -> bytes:
    # Cut from the ISO form, which is several times faster than strftime.
    text = moment.isoformat()
    digits = text[2:4] + text[5:7] + text[8:10] + text[11:13] + text[14:16] + text[17:19]
    return b"\x17\x0d" + digits.encode("ascii") + b"Z"


def _tlv(tag: int, body: bytes) -> bytes:
    """Tag, definite length, value (X.690 section 8.1, 10.1)."""
    return _header(tag, len(body)) + body


def _header(tag: int, length: int) -> bytes:
    if length < 0x80:  # noqa: PLR2004  the short form
        return bytes((tag, length))
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size


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
