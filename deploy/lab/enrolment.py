"""A party's side of enrolling: its own key, which never leaves it, and a request that proves it has the key."""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

REQUEST_NAME: Final = "request.pem"
KEY_NAME: Final = "key.pem"


def write_request(folder: Path, label: str = "") -> Path:
    """Make a key and a request in a party's folder.

    The key is not encrypted, so that curl commands can be pasted; its file is for its owner only.

    Args:
        folder: of the party.
        label: before the names of both files, for a second key.

    Returns:
        The file with the request.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    key_file = folder / f"{label}{KEY_NAME}"
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    # The CA ignores the subject of a request in favour of the vetted identity (spec/pki.md, "Issuing").
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ignored")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    request_file = folder / f"{label}{REQUEST_NAME}"
    request_file.write_bytes(request.public_bytes(Encoding.PEM))
    return request_file
