"""Certificates in files that settings and commands name: PEM or DER, read in one way; errors name the file.

Reads only; whether a certificate is to be believed is not decided here.
"""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import SluisError
from authz.domain.files import read_limited
from pki.keys import spki_sha256

MAX_FILE: Final = 256 * 1024
"""Bytes of a file."""


class CertificateFileError(SluisError, ValueError):
    """A certificate file cannot be used. A ValueError too, so that it is listed among the problems of a file."""


def read_certificates(path: Path) -> tuple[bytes, ...]:
    """DER of the certificates in a file, in order: one or more in PEM, or one in DER.

    Raises:
        CertificateFileError: unreadable, too large, without a certificate, or with one that is damaged.
    """
    try:
        data = read_limited(path, MAX_FILE)
        is_pem = b"-----BEGIN" in data
        found = x509.load_pem_x509_certificates(data) if is_pem else [x509.load_der_x509_certificate(data)]
    except OSError as error:
        raise CertificateFileError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise CertificateFileError(f"{path}: expected certificates in PEM, or one in DER") from None
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)


def read_certificate(path: Path) -> bytes:
    """DER of the one certificate in a file.

    Raises:
        CertificateFileError: see `read_certificates`; or there are several, so that nobody could tell which is meant.
    """
    found = read_certificates(path)
    if len(found) != 1:
        raise CertificateFileError(f"{path}: expected one certificate, found {len(found)}")
    return found[0]


def read_cross(path: Path, root: Path) -> bytes:
    """DER of a cross-certificate: another CA's word for the key of a root.

    Whose word it is, readers judge: the CA that signed it need not be known here.

    Raises:
        CertificateFileError: see `read_certificate`; or it is not about the name and key of the certificate in `root`.
    """
    cross, own = (x509.load_der_x509_certificate(read_certificate(file)) for file in (path, root))
    if cross.subject != own.subject or spki_sha256(cross) != spki_sha256(own) or cross.issuer == own.subject:
        raise CertificateFileError(f"{path}: expected the key of {root} certified by another CA")
    return cross.public_bytes(Encoding.DER)


def pin_of(path: Path) -> str:
    """Hex SHA-256 of the key in the one certificate of a file: what a CA and its credentials are pinned to.

    Raises:
        CertificateFileError: see `read_certificate`.
    """
    return spki_sha256(x509.load_der_x509_certificate(read_certificate(path)))
