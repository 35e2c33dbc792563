"""The delegated key of an OCSP responder: made in memory, certified by the CA for two days, gone with the process.

Specification: RFC 6960 section 4.2.2.2: id-kp-OCSPSigning by the CA itself, id-pkix-ocsp-nocheck and therefore short.
So the key of the CA signs one certificate a day instead of every answer, and nothing about the responder has to be
configured, kept or revoked. The certificate is recorded before it is signed, like every other.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from pki.issuing import IssuingCa
from pki.keys import load_spki
from pki.lint.responder import lint_responder
from pki.profiles import BACKDATE, RESPONDER_LIFETIME, ocsp_responder
from pki.signing.certifying import IssuingError, new_serial_number, prepare, sign
from pki.signing.encoding import ToBeSigned
from pki.signing.signer import KeySigner, new_key
from pki.store.database import Database
from pki.store.status import StatusRegister

RENEW_BEFORE: Final = timedelta(days=1)
_COPIED: Final = (NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME)


@dataclass(frozen=True, slots=True)
class ResponderKey:
    """A key that may speak for one CA about the status of its certificates.

    Attributes:
        signer: the key.
        certificate: DER.
        key_hash: SHA-1 of the public key, which is how answers name it (RFC 6960 section 4.2.1).
        not_after: end of the certificate.
    """

    signer: KeySigner
    certificate: bytes
    key_hash: bytes
    not_after: datetime


async def new_responder_key(database: Database, ca: IssuingCa, at: datetime) -> ResponderKey:
    """Make a key and have the CA certify it.

    Raises:
        Refused: LINT_FAILED.
        SignerError: the key of the CA cannot be used.
        IssuingError: its signature does not verify.
        StoreUnavailable: it cannot be recorded, so it was not signed.
    """
    signer = KeySigner(new_key("ec-p256"))
    serial_number = new_serial_number()
    start = max((at - BACKDATE).replace(microsecond=0), ca.certificate.not_valid_before_utc)
    end = min(start + RESPONDER_LIFETIME, ca.certificate.not_valid_after_utc)
    fields = ToBeSigned(
        serial_number=serial_number,
        algorithm=ca.signer.algorithm,
        issuer=ca.certificate.subject,
        subject=_subject(ca),
        public_key=signer.public_key,
        not_before=start,
        not_after=end,
        extensions=ocsp_responder(signer.public_key, ca.signer.public_key),
    )
    tbs = prepare(fields, ca.signer, lambda der: lint_responder(der, ca.certificate))
    name = f"{serial_number:x}"
    async with database.write() as connection:
        await StatusRegister(connection).add_responder(ca.name, name, end, tbs)
    # The key of the CA may be in a token, which takes its time; requests go on meanwhile.
    certificate = await asyncio.to_thread(sign, tbs, ca.signer, ca.certificate)
    async with database.write() as connection:
        await StatusRegister(connection).complete_responder(ca.name, name, certificate)
    digest = x509.SubjectKeyIdentifier.from_public_key(load_spki(signer.public_key)).digest  # RFC 5280 4.2.1.2 (1)
    return ResponderKey(signer, certificate, digest, end)


def issuer_hashes(ca: IssuingCa) -> list[tuple[str, bytes, bytes]]:
    """Every way in which a request may name this CA (RFC 6960 section 4.1.1, CertID)."""
    bits = x509.SubjectKeyIdentifier.from_public_key(load_spki(ca.signer.public_key)).key_identifier
    name, key = ca.certificate.subject.public_bytes(), _key_bits(ca.signer.public_key)
    found = [(kind, hashlib.new(kind, name).digest(), hashlib.new(kind, key).digest()) for kind in _HASHES]
    if found[0][2] != bits:
        raise IssuingError("the key of the CA is not read as others read it")
    return found


_HASHES: Final = ("sha1", "sha256", "sha384", "sha512")
"""SHA-1 names a CA here and protects nothing: RFC 5019 section 2.1.1 makes clients ask with it."""


def _key_bits(public_key: bytes) -> bytes:
    """The subjectPublicKey, without tag, length and number of unused bits."""
    from asn1crypto.keys import PublicKeyInfo  # noqa: PLC0415  only here

    return bytes(PublicKeyInfo.load(public_key)["public_key"].contents[1:])


def _subject(ca: IssuingCa) -> x509.Name:
    copied = [item for item in ca.certificate.subject if item.oid in _COPIED]
    return x509.Name([*copied, x509.NameAttribute(NameOID.COMMON_NAME, f"OCSP responder of {ca.name}"[:64])])
