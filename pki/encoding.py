"""Certificates and CRLs as exact bytes: what is to be signed, and the result with its signature.

Specification: RFC 5280 sections 4.1 and 5.1; ITU-T X.690 (DER). Building and signing are apart because keys hide behind
`Signer.sign(bytes)`: pyca/cryptography builds only with a private key in memory, which an HSM does not give. Says
nothing about what ought to be in a certificate; that is `pki.profiles` and `pki.lint`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asn1crypto import algos, core, crl, keys
from asn1crypto import x509 as asn1
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
        tbs = asn1.TbsCertificate(
            {
                "version": "v3",
                "serial_number": self.serial_number,
                "signature": {"algorithm": self.algorithm},
                "issuer": asn1.Name.load(self.issuer.public_bytes()),
                "validity": {"not_before": _time(self.not_before), "not_after": _time(self.not_after)},
                "subject": asn1.Name.load(self.subject.public_bytes()),
                "subject_public_key_info": keys.PublicKeyInfo.load(self.public_key),
                "extensions": [
                    {"extn_id": item.oid.dotted_string, "critical": critical, "extn_value": item.public_bytes()}
                    for item, critical in self.extensions
                ],
            }
        )
        return bytes(tbs.dump())


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
        algos.SignedDigestAlgorithm({"algorithm": algorithm}).dump(),
        issuer.public_bytes(),
        asn1.Time(_time(this_update)).dump(),
        asn1.Time(_time(next_update)).dump(),
    ]
    listed = b"".join(_entry(entry) for entry in entries)
    if listed:  # RFC 5280 section 5.1.2.6: absent when nothing is revoked
        fields.append(_tlv(0x30, listed))
    encoded = crl.TBSCertListExtensions(
        [
            {"extn_id": item.oid.dotted_string, "critical": critical, "extn_value": item.public_bytes()}
            for item, critical in extensions
        ]
    ).dump()
    fields.append(_tlv(0xA0, encoded))
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
    identifier = algos.SignedDigestAlgorithm({"algorithm": algorithm}).dump()
    return _tlv(0x30, tbs + identifier + _tlv(0x03, b"\x00" + signature))


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


def _time(moment: datetime) -> dict[str, datetime]:
    whole = moment.replace(microsecond=0)
    return {"utc_time" if whole.year < _UTC_TIME_ENDS else "general_time": whole}


def _reason_extension(code: int) -> bytes:
    # crlEntryExtensions: reasonCode 2.5.29.21, not critical, ENUMERATED.
    extension = _tlv(0x30, b"\x06\x03\x55\x1d\x15" + _tlv(0x04, bytes((0x0A, 0x01, code))))
    return _tlv(0x30, extension)


_REASONS: Final = {code: _reason_extension(code) for code in (1, 2, 3, 4, 5, 6, 9, 10)}
