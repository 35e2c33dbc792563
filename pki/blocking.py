"""Reading which keys must never be certified: from files of the operator, or a published list.

A key is named by the hex SHA-256 of its subjectPublicKeyInfo, as the register does.
"""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from authz.domain.errors import Refused
from authz.domain.reasons import Reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

WHYS: Final = ("compromised", "weak", "published")
MAX_HASHES: Final = 1_000_000
MAX_KEY_FILE: Final = 65_536
_HASH = re.compile(r"[0-9a-f]{64}")


def subject_key_of(path: Path) -> str:
    """The name of the key in a PEM file with a certificate, a request or a public key.

    Raises:
        Refused: PARAMETER_MALFORMED, it is none of these.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_KEY_FILE)
    try:
        key: PublicKeyTypes
        if b"-----BEGIN CERTIFICATE-----" in data:
            key = x509.load_pem_x509_certificate(data).public_key()
        elif b"REQUEST-----" in data:
            key = x509.load_pem_x509_csr(data).public_key()
        else:
            key = load_pem_public_key(data)
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception as error:  # whatever a parser says about bytes that are something else
        raise Refused(
            Reason.PARAMETER_MALFORMED, "--key: expected a certificate, a certificate request or a public key in PEM."
        ) from error
    return hashlib.sha256(der).hexdigest()


def read_hashes(path: Path) -> list[str]:
    """The names of keys in a list; empty lines and lines that start with `#` are skipped.

    Raises:
        Refused: PARAMETER_MALFORMED, with the number of the first line that is no hash, or too many.
        OSError: it cannot be read.
    """
    found = []
    with path.open(encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.strip().lower()
            if not text or text.startswith("#"):
                continue
            if not _HASH.fullmatch(text):
                raise Refused(Reason.PARAMETER_MALFORMED, f"--hashes, line {number}: expected 64 hex digits (SHA-256).")
            found.append(text)
            if len(found) > MAX_HASHES:
                raise Refused(Reason.PARAMETER_MALFORMED, f"--hashes: expected at most {MAX_HASHES} lines.")
    return found
