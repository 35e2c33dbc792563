"""OCSP answers that a relying party holds, verified when they come in; the counterpart of `pki.validation.crl_store`.

Specification: RFC 6960 sections 3.2 and 4.2.2; shared `spec/pki.md`, "Validating" rule 4: "OCSP where configured.
Unknown = refuse", and nothing is fetched in the request path. The owner fetches answers ahead of time
(`pki.validation.ocsp_source`) or receives them, and puts them in here. An answer counts when it is signed with the key
of the CA that issued the certificate, or with a key that this CA certified for OCSP and exempted from checking
(id-pkix-ocsp-nocheck).

Freshness is judged per decision by `pki.validation.revocation_check`. A nonce is not asked for: answers are made ahead
of time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asn1crypto import algos, keys
from asn1crypto import ocsp as asn1
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyhanko_certvalidator.errors import PSSParameterMismatch
from pyhanko_certvalidator.sig_validate import DefaultSignatureValidator

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import STANDARD, AlgorithmRules, AllowedAlgorithms
from pki.keys import spki_of, spki_sha256

MAX_OCSP_BYTES: Final = 65_536
MAX_ANSWERS: Final = 100_000
_MAX_SENT: Final = 4
"""Certificates in a response that are looked at."""


@dataclass(frozen=True, slots=True)
class VerifiedAnswer:
    """What a CA said about one certificate.

    Attributes:
        issuer_key: hex SHA-256 of the subjectPublicKeyInfo of the CA.
        serial_number: of the certificate.
        revoked: revoked, on hold, or not known to the CA: all three are refused.
        this_update: moment of which the answer is, UTC.
        next_update: when the next one is there at the latest, never beyond the life of the key that signed it, UTC.
    """

    issuer_key: str
    serial_number: int
    revoked: bool
    this_update: datetime
    next_update: datetime


class OcspStore:
    """Holds the newest verified answer about each certificate.

    Args:
        issuers: DER certificates of the CAs whose answers are accepted.
        rules: allowed keys and algorithms.
    """

    def __init__(self, issuers: Sequence[bytes], *, rules: AlgorithmRules = STANDARD) -> None:
        self._issuers = tuple(x509.load_der_x509_certificate(der) for der in issuers)
        self._rules = rules
        self._answers: dict[tuple[str, int], VerifiedAnswer] = {}
        self.version = 0
        """Grows with each change; what was derived from an older version must be derived again."""

    def put(self, der: bytes) -> bool:
        """Verify a response and keep it when it is newer than what is held.

        Returns:
            Whether it was taken; False when the same or a newer one is already held (a replayed old answer).

        Raises:
            Refused: OCSP_INVALID: unreadable, not successful, more than one answer, unknown issuer, wrong signature, or
                without the time of the next one.
        """
        return self.take(self.verify(der))

    def take(self, answer: VerifiedAnswer) -> bool:
        """Keep a verified answer when it is newer than what is held.

        Returns:
            Whether it was taken.

        Raises:
            Refused: OCSP_INVALID, there are too many.
        """
        key = (answer.issuer_key, answer.serial_number)
        held = self._answers.get(key)
        if held is not None and answer.this_update <= held.this_update:
            return False
        if held is None and len(self._answers) >= MAX_ANSWERS:
            raise _invalid("there are too many")
        self._answers[key] = answer
        # "Good" that is confirmed changes no outcome: what rested on the answer before still ends when that one does.
        if held is None or held.revoked or answer.revoked:
            self.version += 1
        return True

    def forget(self, issuer_key: str, serial_number: int) -> bool:
        """Keep what is held about a certificate no longer, unless it says "revoked".

        Returns:
            Whether nothing is held about it now.
        """
        held = self._answers.get((issuer_key, serial_number))
        if held is not None and held.revoked:
            return False
        if self._answers.pop((issuer_key, serial_number), None) is not None:
            self.version += 1
        return True

    def about(self, issuer_key: str, serial_number: int) -> VerifiedAnswer | None:
        """The newest answer about a certificate, or None."""
        return self._answers.get((issuer_key, serial_number))

    def verify(self, der: bytes) -> VerifiedAnswer:
        """What a response says and who vouches for it; nothing is kept, and its age is not judged.

        Raises:
            Refused: OCSP_INVALID, as `put`.
        """
        if len(der) > MAX_OCSP_BYTES:
            raise _invalid("it is too large")
        try:
            response = ocsp.load_der_ocsp_response(der)
            (single,) = list(response.responses)  # raises for any status but successful
            critical = any(extension.critical for extension in response.extensions)
            signature = _Signature.of(der)
            issuer = next((ca for ca in self._issuers if _is_about(single, ca)), None)
            signer = issuer and next(self._signers(signature, response.certificates, issuer), None)
        except Exception as error:  # whatever a parser says about hostile bytes means the same
            raise _invalid("it cannot be read, or does not hold exactly one answer") from error
        if issuer is None:
            raise _invalid("its issuer is not known here")
        if signer is None:
            raise _invalid("its signature is not of the certificate authority it speaks for, or too weak")
        if critical:
            raise _invalid("it has a critical extension")
        if single.next_update_utc is None:
            raise _invalid("it does not say when the next one comes")
        return VerifiedAnswer(
            spki_sha256(issuer),
            single.serial_number,
            single.certificate_status is not ocsp.OCSPCertStatus.GOOD,
            max(single.this_update_utc, signer.not_valid_before_utc),
            min(single.next_update_utc, signer.not_valid_after_utc),
        )

    def _signers(
        self, signature: "_Signature", sent: Sequence[x509.Certificate], issuer: x509.Certificate
    ) -> Iterator[x509.Certificate]:
        """The CA itself, or a key that it certified for this (RFC 6960 section 4.2.2.2), where the signature fits."""
        for candidate in (issuer, *sent[:_MAX_SENT]):
            is_ca = spki_sha256(candidate) == spki_sha256(issuer)
            if signature.fits(candidate, self._rules) and (is_ca or _is_responder(candidate, issuer, self._rules)):
                yield issuer if is_ca else candidate


@dataclass(frozen=True, slots=True)
class _Signature:
    """The signature of a response, over its exact bytes."""

    signed: bytes
    value: bytes
    algorithm: algos.SignedDigestAlgorithm

    @classmethod
    def of(cls, der: bytes) -> "_Signature":
        basic = asn1.OCSPResponse.load(der, strict=True)["response_bytes"]["response"].parsed
        return cls(basic["tbs_response_data"].dump(), basic["signature"].native, basic["signature_algorithm"])

    def fits(self, signer: x509.Certificate, rules: AlgorithmRules) -> bool:
        info = keys.PublicKeyInfo.load(spki_of(signer))
        allowed = AllowedAlgorithms(rules).signature_algorithm_allowed(self.algorithm, None, info)
        if not allowed.allowed or not rules.key_allowed(signer.public_key()):
            return False
        try:
            DefaultSignatureValidator().validate_signature(self.value, self.signed, info, self.algorithm)
        except (InvalidSignature, PSSParameterMismatch, ValueError, TypeError):  # a key of another kind, too
            return False
        return True


def _is_about(single: ocsp.OCSPSingleResponse, issuer: x509.Certificate) -> bool:
    digest = single.hash_algorithm
    # Here the digest only finds the issuer, whose key then has to fit: SHA-1 is what responders still use for it.
    if digest.name not in {"sha1", "sha256", "sha384", "sha512"}:
        return False
    try:
        bits = key_bits(issuer)
    except ValueError:
        return False
    name = hashlib.new(digest.name, issuer.subject.public_bytes()).digest()
    return name == single.issuer_name_hash and hashlib.new(digest.name, bits).digest() == single.issuer_key_hash


def key_bits(issuer: x509.Certificate) -> bytes:
    """The subjectPublicKey of a CA, which a question and an answer name by its hash (RFC 6960 section 4.1.1).

    Raises:
        ValueError: neither RSA nor elliptic curve.
    """
    key = issuer.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    raise ValueError("expected an EC or RSA key")


def _is_responder(candidate: x509.Certificate, issuer: x509.Certificate, rules: AlgorithmRules) -> bool:
    try:
        candidate.verify_directly_issued_by(issuer)
        purposes = candidate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        candidate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    parameters = candidate.signature_algorithm_parameters
    allowed = rules.signature_allowed(candidate.signature_hash_algorithm, parameters)
    return allowed and ExtendedKeyUsageOID.OCSP_SIGNING in purposes


def _invalid(what: str) -> Refused:
    return Refused(Reason.OCSP_INVALID, f"The OCSP answer is refused: {what}.")
