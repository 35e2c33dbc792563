"""A certificate request (PKCS#10): proof that the asker holds the key, and a key that may be certified. Nothing else.

Specification: RFC 2986; shared `spec/pki.md`, "Issuing": proof of possession, key policy, "subject ignored in favour of
the vetted identity". What a request says about names or extensions is not read at all. Whether the key belongs to
another party, or was compromised, is asked of the register.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.enrolment.key_names import KeyName, name_of_der
from pki.enrolment.key_quality import weakness
from pki.keys import spki_of

MAX_REQUEST_BYTES: Final = 16_384
_PEM: Final = b"-----BEGIN"
_DIGESTS: Final = frozenset({"sha256", "sha384", "sha512"})


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A key whose possession was proved.

    Attributes:
        public_key: DER subjectPublicKeyInfo.
    """

    public_key: bytes

    @property
    def name(self) -> KeyName:
        """The name of the key in the register."""
        return name_of_der(self.public_key)

    @property
    def subject_key(self) -> str:
        """Hex SHA-256 of the key."""
        return hashlib.sha256(self.public_key).hexdigest()


def parse_request(data: bytes) -> CertificateRequest:
    """Read a request.

    Args:
        data: one PKCS#10 request in PEM or DER, at most `MAX_REQUEST_BYTES`.

    Raises:
        Refused: REQUEST_MALFORMED; REQUEST_SIGNATURE, it is not signed with its own key; KEY_WEAK.
    """
    if len(data) > MAX_REQUEST_BYTES or data.count(_PEM) > 1:
        raise Refused(Reason.REQUEST_MALFORMED, "Expected one PKCS#10 certificate request of at most 16 kB.")
    try:
        request = x509.load_pem_x509_csr(data) if _PEM in data else x509.load_der_x509_csr(data)
        key = request.public_key()
        digest = request.signature_hash_algorithm
    except Exception as error:  # whatever a parser says about hostile bytes means the same
        raise _unreadable() from error
    # The signature of a key that will be refused anyway is not worth computing.
    why = _weakness(key)
    if why is not None:
        raise Refused(Reason.KEY_WEAK, f"{why}.")
    if digest is None or digest.name not in _DIGESTS:
        raise Refused(Reason.REQUEST_SIGNATURE, "signatureAlgorithm: expected a signature with SHA-256, 384 or 512.")
    try:
        possessed = request.is_signature_valid
    except Exception as error:
        raise _unreadable() from error
    if not possessed:
        raise Refused(
            Reason.REQUEST_SIGNATURE,
            "signature: expected one made with the private key of the subjectPublicKeyInfo; it does not verify.",
        )
    return CertificateRequest(spki_of(key))


def _weakness(key: object) -> str | None:
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return weakness(key)
    return "subjectPublicKeyInfo: expected a key of ECDSA P-256 or P-384, or RSA of at least 3072 bits"


def _unreadable() -> Refused:
    return Refused(Reason.REQUEST_MALFORMED, "The certificate request cannot be read: expected PKCS#10 in PEM or DER.")
