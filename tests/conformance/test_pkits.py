"""NIST PKITS: 224 certification paths with published outcomes, through our own path and revocation checks.

`pkits.txt` says what NIST expects, `DIFFERENCES` where we decide otherwise on purpose (docs/decisions/0016); a test
fails when we deviate anywhere else, and also when a difference disappears. Certificates and CRLs come unchanged from
the package `cryptography-vectors`. They have RSA keys of 2048 bits, which the product refuses: only here is it told
that such keys are acceptable.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import cryptography_vectors
import pytest

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import AlgorithmRules
from pki.validation.crl_store import CrlStore
from pki.validation.path import Parsed, PathChecker, PolicyInputs, parse
from pki.validation.revocation_check import RevocationCheck
from tests.support import count

DATA = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY_ARC = "2.16.840.1.101.3.2.1.48"
LONG = timedelta(days=30 * 365)
"""The suite has CRLs of 2010 that are valid until 2030: their age is not what it tests."""


RULES = AlgorithmRules(min_rsa_bits=2048)


@dataclass(frozen=True)
class Case:
    """One line of `pkits.txt`."""

    number: str
    name: str
    valid: bool
    policies: PolicyInputs

    @property
    def section(self) -> str:
        return ".".join(self.number.split(".")[:2])


DIFFERENCES: Mapping[str, Reason] = {
    # DSA is not an allowed algorithm; the second one has a key without parameters, which cannot even be read.
    "4.1.4": Reason.CERTIFICATE_ALGORITHM,
    "4.1.5": Reason.CERTIFICATE_MALFORMED,
    # CRLs by reason are not taken.
    "4.14.18": Reason.CRL_MISSING,
    "4.14.19": Reason.CRL_MISSING,
    # Indirect CRLs are not taken.
    "4.14.22": Reason.CRL_MISSING,
    "4.14.24": Reason.CRL_MISSING,
    "4.14.25": Reason.CRL_MISSING,
    "4.14.28": Reason.CRL_MISSING,
    "4.14.29": Reason.CRL_MISSING,
    "4.14.30": Reason.CRL_MISSING,
    "4.14.33": Reason.CRL_MISSING,
}
"""Paths that NIST calls valid and that we refuse, with our reason; each group is explained in docs/decisions/0016."""

_PATH = frozenset({Reason.CERTIFICATE_PATH})
_CRL = frozenset({Reason.CERTIFICATE_REVOKED, Reason.CRL_MISSING, Reason.CRL_STALE})
SECTIONS: Mapping[str, tuple[str, frozenset[Reason]]] = {
    # The signature of 4.1.6 is not even written as the rest of its certificate says.
    "4.1": ("signature verification", frozenset({Reason.CERTIFICATE_UNTRUSTED, Reason.CERTIFICATE_MALFORMED})),
    "4.2": ("validity periods", _PATH | {Reason.CERTIFICATE_EXPIRED, Reason.CERTIFICATE_NOT_YET_VALID}),
    "4.3": ("name chaining", frozenset({Reason.CERTIFICATE_UNTRUSTED})),
    "4.4": ("basic revocation", _CRL | {Reason.CERTIFICATE_MALFORMED}),
    "4.5": ("self-issued certificates", _PATH | {Reason.CERTIFICATE_REVOKED}),
    "4.6": ("basic constraints", _PATH),
    "4.7": ("key usage", _PATH | {Reason.CRL_MISSING}),
    "4.8": ("certificate policies", _PATH),
    "4.9": ("require explicit policy", _PATH),
    "4.10": ("policy mappings", _PATH),
    "4.11": ("inhibit policy mapping", _PATH),
    "4.12": ("inhibit anyPolicy", _PATH),
    "4.13": ("name constraints", _PATH),
    "4.14": ("distribution points", _CRL - {Reason.CRL_STALE}),
    "4.15": ("delta CRLs", _CRL),
    "4.16": ("private extensions", _PATH),
}
"""Title of each section, and the reasons with which what is invalid in it may be refused: any other is an accident."""


def cases() -> Iterator[Case]:
    for line in (Path(__file__).parent / "pkits.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        number, name, outcome, *settings = line.split()
        assert outcome in {"valid", "invalid"}
        yield Case(
            number,
            name,
            outcome == "valid",
            PolicyInputs(
                acceptable=frozenset(f"{POLICY_ARC}.{item[1:]}" for item in settings if item.startswith("P")),
                explicit="explicit" in settings,
                inhibit_mapping="inhibit-mapping" in settings,
                inhibit_any="inhibit-any" in settings,
            ),
        )


CASES = tuple(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}-{case.name}")
def test_pkits(case: Case) -> None:
    found = outcome(case)
    title, reasons = SECTIONS[case.section]
    label = f"PKITS | 4.{int(case.section[2:]):02} {title}"
    count(f"{label} | cases")
    if case.number in DIFFERENCES:
        assert case.valid, "only what NIST calls valid can be refused on purpose"
        assert found is DIFFERENCES[case.number], "a known difference has changed: see docs/decisions/0016"
        count(f"{label} | stricter on purpose")
        return
    if case.valid:
        assert found is None
    else:
        assert found in reasons
    count(f"{label} | passed")


def test_every_test_of_the_suite_is_there() -> None:
    numbers = {tuple(int(part) for part in case.number.split(".")[:3]) for case in CASES}
    published = (6, 8, 11, 21, 8, 17, 5, 20, 8, 14, 11, 10, 38, 35, 10, 2)
    assert numbers == {
        (4, section, test) for section, tests in enumerate(published, start=1) for test in range(1, tests + 1)
    }
    assert set(DIFFERENCES) <= {case.number for case in CASES}


def test_the_rules_of_the_product_refuse_the_keys_of_the_suite() -> None:
    case = CASES[0]
    leaf = parse((DATA / "certs" / f"{case.name}EE.crt").read_bytes())
    with pytest.raises(Refused) as caught:
        PathChecker([anchor()], authorities()).check(leaf, (), AT)
    assert caught.value.reason is Reason.CERTIFICATE_ALGORITHM


@cache
def authorities() -> tuple[Parsed, ...]:
    """Every CA certificate of the suite that can be read."""
    return tuple(found for path in sorted((DATA / "certs").glob("*Cert.crt")) if (found := _parsed(path)) is not None)


@cache
def anchor() -> Parsed:
    return parse((DATA / "certs" / "TrustAnchorRootCertificate.crt").read_bytes())


@cache
def crls() -> CrlStore:
    """Every CRL of the suite that we take; the others are refused when they come in, as in the product."""
    store = CrlStore([anchor().der, *(item.der for item in authorities())], rules=RULES)
    for path in sorted((DATA / "crls").glob("*.crl")):
        with suppress(Refused):
            store.put(path.read_bytes())
    return store


def outcome(case: Case) -> Reason | None:
    """None when we accept the path."""
    paths = PathChecker([anchor()], authorities(), policies=case.policies, rules=RULES)
    revocation = RevocationCheck(crls=crls(), ocsp=None, paths=paths, max_crl_age=LONG, max_authority_crl_age=LONG)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # negative serial numbers
            leaf = parse((DATA / "certs" / f"{case.name}EE.crt").read_bytes())
        revocation.require(paths.check(leaf, (), AT), AT)
    except Refused as refused:
        return refused.reason
    return None


def _parsed(path: Path) -> Parsed | None:
    try:
        return parse(path.read_bytes())
    except Refused:
        return None
