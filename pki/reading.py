"""Reading the certificates that settings name."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import SluisError


class AuthorityError(SluisError):
    """The authority cannot be opened with these settings."""


def read_certificate(path: Path) -> bytes:
    """DER of the one certificate in a PEM file.

    Raises:
        AuthorityError: unreadable, or not exactly one.
    """
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AuthorityError(f"{path}: expected a certificate in PEM") from error
    if len(found) != 1:
        raise AuthorityError(f"{path}: expected one certificate")
    return found[0].public_bytes(Encoding.DER)
