"""Reading which keys must never be certified: from files of the operator, or a published list.

A list names a key by the hex SHA-256 of its subjectPublicKeyInfo. Such a key is found in another dress
(`pki.enrolment.key_names`) only when it was certified here; one in a file is found in every dress.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from authz.domain.errors import Refused
from authz.domain.files import read_limited
from authz.domain.reasons import Reason
from pki.enrolment.key_names import KeyName, name_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

WHYS: Final = ("compromised", "weak", "published")
MAX_HASHES: Final = 1_000_000
MAX_KEY_FILE: Final = 65_536
MAX_HASH_FILE: Final = 128 * 1024 * 1024
"""Bytes; a million hashes and some comments between them."""
_HASH = re.compile(r"[0-9a-f]{64}")


def key_name_of(path: Path) -> KeyName:
    """The name of the key in a PEM file with a certificate, a request or a public key.

    Raises:
        Refused: PARAMETER_MALFORMED, it is none of these.
        OSError: it cannot be read.
    """
    data = read_limited(path, MAX_KEY_FILE)
    try:
        key: PublicKeyTypes
        if b"-----BEGIN CERTIFICATE-----" in data:
            key = x509.load_pem_x509_certificate(data).public_key()
        elif b"REQUEST-----" in data:
            key = x509.load_pem_x509_csr(data).public_key()
        else:
            key = load_pem_public_key(data)
        return name_of(key)
    except Exception as error:  # whatever a parser says about bytes that are something else
        raise Refused(
            Reason.PARAMETER_MALFORMED, "--key: expected a certificate, a certificate request or a public key in PEM."
        ) from error


def read_hashes(path: Path) -> list[KeyName]:
    """The names of keys in a list; empty lines and lines that start with `#` are skipped.

    Raises:
        Refused: PARAMETER_MALFORMED, with the number of the first line that is no hash, or too many.
        OSError: it cannot be read.
    """
    found = []
    for number, line in enumerate(read_limited(path, MAX_HASH_FILE).split(b"\n"), 1):
        text = line.decode("ascii", "replace").strip().lower()
        if not text or text.startswith("#"):
            continue
        if not _HASH.fullmatch(text):
            raise Refused(Reason.PARAMETER_MALFORMED, f"--hashes, line {number}: expected 64 hex digits (SHA-256).")
        found.append(KeyName(text))
        if len(found) > MAX_HASHES:
            raise Refused(Reason.PARAMETER_MALFORMED, f"--hashes: expected at most {MAX_HASHES} lines.")
    return found
