"""The other spelling of a certificate with an ECDSA signature.

For every ECDSA signature (r, s) the signature (r, n - s) is valid too, and anybody can write it; so everybody can make
of such a certificate exactly one other that every verifier accepts, with the same content and another thumbprint. A
block by thumbprint that looks at one of the two is no block. Specification: SEC 1 section 4.1.4 (verification looks at
s only as its inverse times r, up to the sign of a point's x-coordinate). RSA signatures have one spelling.
"""

from typing import Final

from asn1crypto import parser
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from pki.validation.path import Parsed

_ORDERS: Final = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16
    ),
}
"""Orders of the base points (SEC 2 sections 2.4.2 and 2.5.1)."""
_SEQUENCE: Final = 16
_BIT_STRING: Final = 3


def twin_of(certificate: Parsed, issuer: Parsed) -> bytes:
    """The DER of the other spelling, or the same DER where there is none.

    Args:
        certificate: its signature was verified.
        issuer: whose key signed it.
    """
    key = issuer.certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _ORDERS:
        return certificate.der
    r, s = decode_dss_signature(certificate.certificate.signature)
    signature = b"\x00" + encode_dss_signature(r, _ORDERS[key.curve.name] - s)
    parts = (
        certificate.certificate.tbs_certificate_bytes,
        certificate.unchecked["signature_algorithm"].dump(),
        parser.emit(0, 0, _BIT_STRING, signature),
    )
    return bytes(parser.emit(0, 1, _SEQUENCE, b"".join(parts)))
