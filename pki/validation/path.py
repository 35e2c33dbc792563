"""Building and checking a certification path at one given moment, on top of pyhanko-certvalidator.

Specification: RFC 5280 section 6.1 (path validation) with the algorithms of `pki.algorithms`; shared `spec/pki.md`,
"Validating" rule 1. Nothing is fetched and no clock is read. Revocation is deliberately not checked here:
`pki.validation.validator` does that for each certificate of the path, against CRLs that were fetched ahead of time.
"""

from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    NotYetValidError,
    PathBuildingError,
    ValidationError,
)
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import (
    CertRevTrustPolicy,
    PKIXValidationParams,
    RevocationCheckingPolicy,
    RevocationCheckingRule,
)
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.sig_validate import DefaultSignatureValidator
from pyhanko_certvalidator.validate import async_validate_path

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import STANDARD, AlgorithmRules, AllowedAlgorithms

MAX_CERTIFICATE_BYTES: Final = 16_384
MAX_CHAIN: Final = 5
"""Certificates that a caller may present beside its own."""
_MAX_PATHS: Final = 8
"""Candidate paths that are tried: cross-signed CAs give a few, an attacker would like many."""

_NO_REVOCATION_HERE = CertRevTrustPolicy(
    RevocationCheckingPolicy(
        ee_certificate_rule=RevocationCheckingRule.NO_CHECK,
        intermediate_ca_cert_rule=RevocationCheckingRule.NO_CHECK,
    )
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """One certificate as both libraries see it, from the same bytes."""

    der: bytes
    certificate: x509.Certificate
    unchecked: asn1.Certificate

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parsed) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)


@dataclass(frozen=True, slots=True)
class PolicyInputs:
    """The inputs of path validation about certificate policies (RFC 5280 section 6.1.1 (c) to (g)).

    Attributes:
        acceptable: dotted OIDs; empty accepts any policy.
        explicit: a path must be valid for at least one of them.
        inhibit_mapping: no CA may say that two policies are the same.
        inhibit_any: anyPolicy is not taken for a policy.
    """

    acceptable: frozenset[str] = frozenset()
    explicit: bool = False
    inhibit_mapping: bool = False
    inhibit_any: bool = False


@dataclass(frozen=True, slots=True)
class CheckedPath:
    """A path that RFC 5280 section 6.1 accepts, from the anchor to the leaf; at least two certificates."""

    certificates: tuple[Parsed, ...]

    @property
    def issuer(self) -> Parsed:
        """The certificate whose key signed the leaf."""
        return self.certificates[-2]

    @property
    def links(self) -> tuple[tuple[Parsed, Parsed], ...]:
        """Each (issuer, subject) in the path, anchor first."""
        return tuple(pairwise(self.certificates))


def parse(der: bytes) -> Parsed:
    """Read one certificate, strictly.

    Raises:
        Refused: CERTIFICATE_MALFORMED: not a DER X.509 v3 certificate, trailing data, too large, a duplicate or
            unreadable extension.
    """
    if not der or len(der) > MAX_CERTIFICATE_BYTES:
        raise Refused(Reason.CERTIFICATE_MALFORMED, "The certificate is empty or too large.")
    try:
        certificate = x509.load_der_x509_certificate(der)
        unchecked = asn1.Certificate.load(der, strict=True)
        # Both libraries read lazily: force what later steps rely on, so that trouble shows here.
        _ = (certificate.extensions, certificate.public_key(), certificate.subject, certificate.issuer)
        _ = (unchecked.critical_extensions, unchecked.public_key.native)
        _ = (unchecked.subject.hashable, unchecked.issuer.hashable)
        one_spelling = _has_one_spelling(unchecked)
    except Exception as error:  # whatever a parser says about hostile bytes means the same
        raise Refused(Reason.CERTIFICATE_MALFORMED, "The certificate cannot be read as X.509.") from error
    if not one_spelling:
        raise Refused(Reason.CERTIFICATE_MALFORMED, "The certificate is not in the one encoding that is allowed.")
    if certificate.version is not x509.Version.v3:
        raise Refused(Reason.CERTIFICATE_MALFORMED, "The certificate is not of X.509 version 3.")
    if certificate.serial_number < 0:  # RFC 5280 section 4.1.2.2; in a CRL it could not be looked up
        raise Refused(Reason.CERTIFICATE_MALFORMED, "The serial number of the certificate is negative.")
    return Parsed(der, certificate, unchecked)


def _has_one_spelling(unchecked: asn1.Certificate) -> bool:
    """Whether the parts outside the signature are as the CA wrote them.

    They are not signed, so anybody can rewrite them where a reader is lenient: the result is the same certificate with
    another thumbprint. The algorithm must be the signed one (RFC 5280 section 4.1.1.2), and DER leaves no bits unused
    in a signature.
    """
    signed = unchecked["tbs_certificate"]["signature"].dump()
    return bool(unchecked["signature_algorithm"].dump() == signed) and unchecked["signature_value"].contents[0] == 0


class PathChecker:
    """Checks paths to the anchors it was made with.

    Args:
        anchors: trusted CA certificates; they need not be self-signed.
        intermediates: CA certificates that complete a path; not trusted by themselves.
        policies: what is asked of certificate policies; by default nothing that the CAs do not ask themselves.
        rules: allowed keys and algorithms.

    Raises:
        ValueError: no anchors.
    """

    def __init__(
        self,
        anchors: Sequence[Parsed],
        intermediates: Sequence[Parsed],
        *,
        policies: PolicyInputs = PolicyInputs(),
        rules: AlgorithmRules = STANDARD,
    ) -> None:
        if not anchors:
            raise ValueError("nothing to trust: at least one anchor is needed")
        self._anchors = tuple(anchors)
        self._known = tuple(intermediates)
        self._rules = rules
        self._parameters = PKIXValidationParams(
            user_initial_policy_set=policies.acceptable or frozenset({"any_policy"}),
            initial_explicit_policy=policies.explicit,
            initial_policy_mapping_inhibit=policies.inhibit_mapping,
            initial_any_policy_inhibit=policies.inhibit_any,
        )

    def check(self, leaf: Parsed, chain: Sequence[Parsed], at: datetime) -> CheckedPath:
        """Find a path from an anchor to `leaf` that is valid at `at`.

        Args:
            leaf: the end entity; that it is one is checked by the caller.
            chain: what the caller presented beside it, in any order; untrusted.
            at: moment of the decision, UTC.

        Raises:
            Refused: CERTIFICATE_UNTRUSTED, no path, or a signature in it is not of the CA it names (a rogue CA with the
                same name ends here); CERTIFICATE_ALGORITHM; CERTIFICATE_EXPIRED and CERTIFICATE_NOT_YET_VALID, for the
                leaf; CERTIFICATE_PATH, anything else that RFC 5280 section 6.1 refuses.
        """
        # By object and not by bytes: asn1crypto may write a certificate differently from how it read it.
        pool = {id(item.unchecked): item for item in (*self._anchors, *self._known, *chain, leaf)}
        signatures = _Signatures(item.certificate.tbs_certificate_bytes for item in pool.values())
        context = ValidationContext(
            trust_manager=SimpleTrustManager.build(trust_roots=[item.unchecked for item in self._anchors]),
            other_certs=[item.unchecked for item in (*self._known, *chain)],
            moment=at,
            allow_fetching=False,
            revinfo_policy=_NO_REVOCATION_HERE,
            algorithm_usage_policy=AllowedAlgorithms(self._rules),
            signature_validator=signatures,
            time_tolerance=timedelta(0),
        )
        path = _finish(self._find(context, leaf, signatures, at))
        certificates = tuple(pool[id(certificate)] for certificate in path.iter_certs(include_root=True))
        if len(certificates) < 2:  # noqa: PLR2004  an anchor presented as a leaf: nothing was verified
            raise Refused(Reason.CERTIFICATE_IS_CA, "A trust anchor is not a client certificate.")
        anchor = certificates[0].certificate
        if not anchor.not_valid_before_utc <= at <= anchor.not_valid_after_utc:
            # RFC 5280 leaves this to the relying party; an expired root vouches for nobody here.
            raise Refused(Reason.CERTIFICATE_PATH, "The root of the certificate is not valid at this moment.")
        return CheckedPath(certificates)

    async def _find(
        self, context: ValidationContext, leaf: Parsed, signatures: "_Signatures", at: datetime
    ) -> ValidationPath:
        refusals: list[Refused] = []
        paths = context.path_builder.async_build_paths_lazy(leaf.unchecked)
        try:
            async for path in paths:
                signatures.failed = False
                try:
                    await async_validate_path(context, path, self._parameters)
                except ValidationError as error:
                    refusals.append(_refusal(error, leaf, at, signature_failed=signatures.failed))
                else:
                    return path
                if len(refusals) >= _MAX_PATHS:
                    break
        except PathBuildingError as error:
            if not refusals:
                raise _untrusted() from error
        except Exception as error:
            # The library reads lazily, and says in many ways that it cannot read something.
            raise Refused(Reason.CERTIFICATE_MALFORMED, "The certificate cannot be read as X.509.") from error
        finally:
            await paths.cancel()  # type: ignore[no-untyped-call]
        # A path that got past its signatures says more than one that did not.
        raise min(refusals, key=lambda refused: refused.reason is Reason.CERTIFICATE_UNTRUSTED, default=_untrusted())


class _Signatures(DefaultSignatureValidator):
    """Remembers that it was a signature that failed; the library's error does not say so in a stable way.

    Args:
        exact: what may have been signed: the bytes that were presented, and not bytes that a library writes anew from
            what it read, because two certificates could then look alike to one library and differ to another.
    """

    def __init__(self, exact: Iterable[bytes]) -> None:
        self.failed = False
        self._exact = frozenset(exact)

    def validate_signature(self, signature: bytes, signed_data: bytes, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  passed on unchanged
        if signed_data not in self._exact:
            self.failed = True
            raise InvalidSignature("not over the bytes that were presented")
        try:
            super().validate_signature(signature, signed_data, *args, **kwargs)
        except InvalidSignature:
            self.failed = True
            raise
        except (AssertionError, TypeError, ValueError) as error:
            # What the library makes of an algorithm that is not one of the issuer's key: not that key's signature.
            self.failed = True
            raise InvalidSignature from error


def _refusal(error: ValidationError, leaf: Parsed, at: datetime, *, signature_failed: bool) -> Refused:
    refused = Refused(Reason.CERTIFICATE_PATH, "The chain of the certificate is not valid.")
    if signature_failed:
        refused = _untrusted()
    elif isinstance(error, DisallowedAlgorithmError):
        refused = Refused(
            Reason.CERTIFICATE_ALGORITHM, "The certificate, or its chain, uses a key or algorithm that is too weak."
        )
    elif isinstance(error, ExpiredError) and at > leaf.certificate.not_valid_after_utc:
        refused = Refused(Reason.CERTIFICATE_EXPIRED, "The certificate has expired.")
    elif isinstance(error, NotYetValidError) and at < leaf.certificate.not_valid_before_utc:
        refused = Refused(Reason.CERTIFICATE_NOT_YET_VALID, "The certificate is not valid yet.")
    refused.__cause__ = error
    return refused


def _untrusted() -> Refused:
    return Refused(Reason.CERTIFICATE_UNTRUSTED, "The certificate was not issued by a certificate authority we trust.")


def _finish(work: Coroutine[Any, Any, ValidationPath]) -> ValidationPath:
    """Run a coroutine that never waits for anything.

    The library is asynchronous only because it can fetch; here it has nothing to fetch with. Driving it by hand keeps
    validation a plain function, which also works inside a running event loop.
    """
    try:
        work.send(None)
    except StopIteration as done:
        result: ValidationPath = done.value
        return result
    work.close()
    raise Refused(Reason.CERTIFICATE_PATH, "The chain of the certificate cannot be checked with what is known here.")
