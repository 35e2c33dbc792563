"""CA certificates as files: read with an error that names the file, and named by their key."""

import hashlib
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz.domain.errors import SluisError

_MAX_FILE: Final = 65_536


class CertificateFileError(SluisError, ValueError):
    """A CA certificate file can not be used. A ValueError too, so that it is listed among the problems of a file."""


def certificate_der(path: Path) -> bytes:
    """The one certificate in a file, PEM or DER, as DER.

    Raises:
        CertificateFileError: unreadable, or not exactly one certificate.
    """
    return _load(path).public_bytes(Encoding.DER)


def issuer_key(path: Path) -> str:
    """Hex SHA-256 of the certificate's SubjectPublicKeyInfo: what a credential is pinned to.

    Raises:
        CertificateFileError: see `certificate_der`.
    """
    info = _load(path).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()


def _load(path: Path) -> x509.Certificate:
    try:
        data = path.read_bytes()[:_MAX_FILE]
        found = (
            x509.load_pem_x509_certificates(data)
            if data.startswith(b"-----")
            else [x509.load_der_x509_certificate(data)]
        )
    except OSError as error:
        raise CertificateFileError(f"{path}: can not be read ({error.strerror})") from None
    except ValueError:
        raise CertificateFileError(f"{path}: not a certificate in PEM or DER") from None
    if len(found) != 1:
        raise CertificateFileError(f"{path}: expected one certificate, found {len(found)}")
    return found[0]
