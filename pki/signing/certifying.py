"""What every certificate goes through, whoever it is for: made, linted with a stand-in key, signed, verified.

Specification: shared `spec/pki.md`, "Issuing" ("lint before signing"). Two steps, because what is about to be signed is
recorded between them. Knows no profile and no database.
"""

from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from authz.domain.errors import SluisError
from pki.signing.encoding import ToBeSigned, join_certificate
from pki.signing.signer import Signer
from pki.signing.throwaway import certificate_to_lint

_FULL_LENGTH: Final = 1 << 158


class IssuingError(SluisError):
    """The CA does not do what was asked of it; a fault of ours, not of the caller."""


def new_serial_number() -> int:
    """159 bits, so 20 octets whatever was drawn, 158 of them random (RFC 5280 section 4.1.2.2)."""
    return x509.random_serial_number() | _FULL_LENGTH


def prepare(fields: ToBeSigned, by: Signer, lint: Callable[[bytes], None]) -> bytes:
    """Make what is to be signed, and lint the whole certificate under a key that nobody trusts.

    Args:
        fields: of the certificate.
        by: signs it later.
        lint: gets the DER of the certificate; raises when it must not be signed.

    Returns:
        DER of the TBSCertificate.

    Raises:
        Refused: LINT_FAILED; nothing was signed.
    """
    tbs = fields.encode()
    lint(certificate_to_lint(tbs, by))
    return tbs


def sign(tbs: bytes, by: Signer, issuer: x509.Certificate | None) -> bytes:
    """Sign what was prepared, and verify the signature.

    Args:
        tbs: what `prepare` gave.
        by: the key of the issuer.
        issuer: its certificate; None for a root, which is verified with its own key.

    Returns:
        DER of the certificate.

    Raises:
        SignerError: the key cannot be used.
        IssuingError: the signature does not verify.
    """
    der = join_certificate(tbs, by.algorithm, by.sign(tbs))
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(certificate if issuer is None else issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise IssuingError("the signer made a signature that does not verify") from error
    return der
