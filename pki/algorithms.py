"""Which keys and signature algorithms are acceptable, for certificates, CRLs and requests alike.

Specification: NCSC-NL "ICT-beveiligingsrichtlijnen voor TLS" 2025 and shared `spec/pki.md` ("ECDSA P-256/P-384, RSA >=
3072"); PKIoverheid G4 signs with RSASSA-PSS. An allow-list: what is not named here is refused. Says nothing about a
key being compromised or reused; that needs the register of the CA.
"""

from datetime import datetime
from typing import Final

from asn1crypto import algos, keys
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from pyhanko_certvalidator.policy_decl import AlgorithmUsageConstraint, AlgorithmUsagePolicy

MIN_RSA_BITS: Final = 3072
MAX_RSA_BITS: Final = 8192
"""A larger modulus only costs the verifier time (denial of service)."""
_MIN_EXPONENT: Final = 65537
_CURVES: Final = frozenset({"secp256r1", "secp384r1"})
_DIGESTS: Final = frozenset({"sha256", "sha384", "sha512"})
_SIGNATURES: Final = frozenset({"ecdsa", "rsassa_pkcs1v15", "rsassa_pss"})

_ALLOWED = AlgorithmUsageConstraint(allowed=True)
_REFUSED = AlgorithmUsageConstraint(allowed=False, failure_reason="not an allowed algorithm or key size")


def is_acceptable_key(key: PublicKeyTypes | object) -> bool:
    """Whether a public key is ECDSA P-256 or P-384, or RSA of 3072 to 8192 bits with an odd exponent >= 65537."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in _CURVES
    if isinstance(key, rsa.RSAPublicKey):
        exponent = key.public_numbers().e
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS and exponent >= _MIN_EXPONENT and exponent % 2 == 1
    return False


class AllowedAlgorithms(AlgorithmUsagePolicy):
    """The same rules in the form that the path validator asks for: every signature and signing key in a path."""

    def digest_algorithm_allowed(
        self,
        algo: algos.DigestAlgorithm,
        moment: datetime | None,  # noqa: ARG002  the rules do not depend on the time
    ) -> AlgorithmUsageConstraint:
        """Only SHA-2 of 256 bits and more."""
        return _ALLOWED if algo["algorithm"].native in _DIGESTS else _REFUSED

    def signature_algorithm_allowed(
        self,
        algo: algos.SignedDigestAlgorithm,
        moment: datetime | None,  # noqa: ARG002
        public_key: keys.PublicKeyInfo | None,
    ) -> AlgorithmUsageConstraint:
        """The named signature with a named digest, made by a key of sufficient size."""
        try:
            if algo.signature_algo not in _SIGNATURES or algo.hash_algo not in _DIGESTS:
                return _REFUSED
        except ValueError:  # asn1crypto does not know the algorithm
            return _REFUSED
        if public_key is not None and not _is_acceptable_key_info(public_key):
            return _REFUSED
        return _ALLOWED


def _is_acceptable_key_info(info: keys.PublicKeyInfo) -> bool:
    if info.algorithm == "ec":
        kind, curve = info.curve
        return kind == "named" and curve in _CURVES
    if info.algorithm in {"rsa", "rsassa_pss"}:
        return MIN_RSA_BITS <= int(info.bit_size) <= MAX_RSA_BITS
    return False
