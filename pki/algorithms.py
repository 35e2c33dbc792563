"""Which keys and signature algorithms are acceptable, for certificates, CRLs and requests alike.

Specification: NCSC-NL "ICT-beveiligingsrichtlijnen voor TLS" 2025 and shared `spec/pki.md` ("ECDSA P-256/P-384, RSA >=
3072"); PKIoverheid G4 signs with RSASSA-PSS. An allow-list: what is not named here is refused. Says nothing about a
key being compromised or reused; that needs the register of the CA. No setting changes the rules; other ones exist only
as a constructor argument, for test suites that were published with weaker keys.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asn1crypto import algos, keys
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pyhanko_certvalidator.policy_decl import AlgorithmUsageConstraint, AlgorithmUsagePolicy

MIN_RSA_BITS: Final = 3072
MAX_RSA_BITS: Final = 8192
"""A larger modulus only costs the verifier time (denial of service)."""
_MIN_EXPONENT: Final = 65537
_SALT_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}

_ALLOWED = AlgorithmUsageConstraint(allowed=True)
_REFUSED = AlgorithmUsageConstraint(allowed=False, failure_reason="not an allowed algorithm or key size")


@dataclass(frozen=True)
class AlgorithmRules:
    """What is allowed.

    Attributes:
        min_rsa_bits: size of the smallest RSA modulus.
        curves: names of elliptic curves.
        digests: names of digests.
        signatures: names of signature algorithms, as asn1crypto calls them.
    """

    min_rsa_bits: int = MIN_RSA_BITS
    curves: frozenset[str] = frozenset({"secp256r1", "secp384r1"})
    digests: frozenset[str] = frozenset({"sha256", "sha384", "sha512"})
    signatures: frozenset[str] = frozenset({"ecdsa", "rsassa_pkcs1v15", "rsassa_pss"})

    def key_allowed(self, key: object) -> bool:
        """Whether a public key is on an allowed curve, or RSA of an allowed size with an odd exponent >= 65537."""
        if isinstance(key, ec.EllipticCurvePublicKey):
            return key.curve.name in self.curves
        if isinstance(key, rsa.RSAPublicKey):
            exponent = key.public_numbers().e
            return self.min_rsa_bits <= key.key_size <= MAX_RSA_BITS and exponent >= _MIN_EXPONENT and exponent % 2 == 1
        return False

    def key_info_allowed(self, info: keys.PublicKeyInfo) -> bool:
        """The same, for a key as asn1crypto sees it."""
        if info.algorithm == "ec":
            kind, curve = info.curve
            return kind == "named" and curve in self.curves
        if info.algorithm in {"rsa", "rsassa_pss"}:
            return self.min_rsa_bits <= int(info.bit_size) <= MAX_RSA_BITS
        return False

    def signature_allowed(
        self, digest: hashes.HashAlgorithm | None, parameters: padding.PSS | padding.PKCS1v15 | ec.ECDSA | None
    ) -> bool:
        """Whether a CRL or an OCSP answer is signed in an allowed way, as pyca/cryptography describes it."""
        if digest is None or digest.name not in self.digests or parameters is None:
            return False
        if isinstance(parameters, padding.PSS):
            # The library has no public way to ask for these two.
            mask, salt = parameters.mgf._algorithm.name, parameters._salt_length  # noqa: SLF001
            return mask == digest.name and salt == digest.digest_size
        return True


STANDARD: Final = AlgorithmRules()
"""The rules of the product."""


def is_acceptable_key(key: object) -> bool:
    """Whether a public key is ECDSA P-256 or P-384, or RSA of 3072 to 8192 bits with an odd exponent >= 65537."""
    return STANDARD.key_allowed(key)


class AllowedAlgorithms(AlgorithmUsagePolicy):
    """The same rules in the form that the path validator asks for: every signature and signing key in a path."""

    def __init__(self, rules: AlgorithmRules = STANDARD) -> None:
        self._rules = rules

    def digest_algorithm_allowed(
        self,
        algo: algos.DigestAlgorithm,
        moment: datetime | None,  # noqa: ARG002  the rules do not depend on the time
    ) -> AlgorithmUsageConstraint:
        """Only SHA-2 of 256 bits and more."""
        return _ALLOWED if algo["algorithm"].native in self._rules.digests else _REFUSED

    def signature_algorithm_allowed(
        self,
        algo: algos.SignedDigestAlgorithm,
        moment: datetime | None,  # noqa: ARG002
        public_key: keys.PublicKeyInfo | None,
    ) -> AlgorithmUsageConstraint:
        """The named signature with a named digest, made by a key of sufficient size."""
        try:
            if algo.signature_algo not in self._rules.signatures or algo.hash_algo not in self._rules.digests:
                return _REFUSED
            if algo.signature_algo == "rsassa_pss" and not _is_plain_pss(algo):
                return _REFUSED
        except (ValueError, KeyError):  # asn1crypto does not know the algorithm
            return _REFUSED
        if public_key is not None and not self._rules.key_info_allowed(public_key):
            return _REFUSED
        return _ALLOWED


def _is_plain_pss(algo: algos.SignedDigestAlgorithm) -> bool:
    """One digest for message and mask, and a salt of its length: CA/B Baseline Requirements 7.1.3.2.1."""
    parameters = algo["parameters"]
    mask = parameters["mask_gen_algorithm"]
    return bool(
        mask["algorithm"].native == "mgf1"
        and mask["parameters"]["algorithm"].native == algo.hash_algo
        and parameters["salt_length"].native == _SALT_BYTES.get(algo.hash_algo)
        and parameters["trailer_field"].native in {1, "trailer_field_bc"}
    )
