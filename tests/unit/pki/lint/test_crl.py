"""A CRL that breaks a rule is not signed; each rule is broken alone, beside a list that keeps all of them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.lint.crl import lint_before_signing
from pki.profiles import Publication
from pki.revocation import crl
from pki.revocation.crl import CrlPlan, sign_crl
from pki.revocation.crl_parts import parts_of
from pki.signing.encoding import CrlEnds, CrlEntry, encode_crl_ends, encode_crl_entry
from pki.signing.signer import KeySigner
from tests.fakes.certificates import NOW, FakeAuthority, issuing_distribution_point, name

PUBLISHED = Publication("http://127.0.0.1:18080", "issuing-tst")
SIGNER = KeySigner(ec.generate_private_key(ec.SECP256R1()))
ISSUER = name("Sluis test issuing TST")
PLAN = CrlPlan(7, NOW, NOW + timedelta(hours=2))
ENTRY = encode_crl_entry(CrlEntry(2**158, NOW, 4))
"""Belongs in part 0."""


def ends(*changes: tuple[x509.ExtensionType, bool] | type[x509.ExtensionType], **fields: Any) -> CrlEnds:
    key = ec.EllipticCurvePublicKey
    public = SIGNER._key.public_key()
    assert isinstance(public, key)
    point = crl._distribution_point(PUBLISHED)
    extensions: dict[x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]] = {
        x509.AuthorityKeyIdentifier.oid: (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
        x509.CRLNumber.oid: (x509.CRLNumber(7), False),
        point.oid: (point, True),
    }
    for change in changes:
        if isinstance(change, type):
            extensions.pop(change.oid)
        else:
            extensions[change[0].oid] = change
    good: dict[str, Any] = {
        "algorithm": SIGNER.algorithm,
        "issuer": ISSUER,
        "this_update": NOW,
        "next_update": NOW + timedelta(hours=2),
        "extensions": list(extensions.values()),
    }
    return encode_crl_ends(**(good | fields))


_PUBLISHED = [x509.UniformResourceIdentifier(PUBLISHED.crl_url)]


def _point(**changes: Any) -> tuple[x509.ExtensionType, bool]:
    return issuing_distribution_point(**{"full_name": _PUBLISHED} | changes), True


def test_a_list_that_keeps_the_rules_passes_with_and_without_entries() -> None:
    lint_before_signing(SIGNER, ISSUER, PUBLISHED, ends(), {}, changed=())
    lint_before_signing(SIGNER, ISSUER, PUBLISHED, ends(), {0: ENTRY}, changed=(0,))
    many = parts_of(CrlEntry(2**158 + number, NOW, 4) for number in range(3000))
    lint_before_signing(SIGNER, ISSUER, PUBLISHED, ends(), many, changed=many.keys())
    lint_before_signing(SIGNER, ISSUER, PUBLISHED, ends(), many, changed=())
    lint_before_signing(SIGNER, ISSUER, PUBLISHED, ends(), {0: b"", 1: many[1]}, changed=(0,))
    lint_before_signing(SIGNER, ISSUER, PUBLISHED, ends(), {0: b""}, changed=(0,))
    lint_before_signing(SIGNER, ISSUER, None, ends(x509.IssuingDistributionPoint), {}, changed=())


_ELSEWHERE = [x509.UniformResourceIdentifier("http://127.0.0.1:18080/crl/other.crl")]
_BREAKS: list[tuple[str, Callable[[], CrlEnds]]] = [
    ("issuer is the CA", lambda: ends(issuer=name("Somebody else"))),
    ("thisUpdate before nextUpdate", lambda: ends(next_update=NOW)),
    ("thisUpdate before nextUpdate", lambda: ends(next_update=NOW + timedelta(days=21 * 366))),
    ("CRL number", lambda: ends((x509.CRLNumber(2**160), False))),
    ("CRL number", lambda: ends((x509.CRLNumber(7), True))),
    ("version 2 with its extensions", lambda: ends(x509.CRLNumber)),
    ("version 2 with its extensions", lambda: ends(x509.AuthorityKeyIdentifier)),
    ("version 2 with its extensions", lambda: ends(x509.IssuingDistributionPoint)),
    ("key identifier", lambda: ends((x509.AuthorityKeyIdentifier(b"1" * 20, None, None), False))),
    ("full CRL", lambda: ends((_point()[0], False))),
    ("full CRL", lambda: ends(_point(only_contains_user_certs=True))),
    ("full CRL", lambda: ends(_point(indirect_crl=True))),
    ("full CRL", lambda: ends(_point(full_name=_ELSEWHERE))),
    ("no other extension", lambda: ends((x509.DeltaCRLIndicator(6), True))),
]


@pytest.mark.parametrize(("clause", "made"), _BREAKS, ids=[f"{at}-{item[0]}" for at, item in enumerate(_BREAKS)])
def test_what_breaks_a_rule_is_not_signed(clause: str, made: Callable[[], CrlEnds]) -> None:
    with pytest.raises(Refused) as caught:
        lint_before_signing(SIGNER, ISSUER, PUBLISHED, made(), {0: ENTRY}, changed=(0,))
    assert caught.value.reason is Reason.LINT_FAILED
    assert clause in caught.value.detail


@pytest.mark.parametrize(
    "listed",
    [
        ENTRY + ENTRY,  # one certificate twice
        ENTRY[:-1],
        ENTRY + b"\x30",
        ENTRY + b"\x00" * 40,
        encode_crl_entry(CrlEntry(256, NOW, 4)).replace(b"\x0a\x01\x04", b"\x0a\x01\x08"),  # removeFromCRL
        encode_crl_entry(CrlEntry(256, NOW, 4)).replace(b"\x0a\x01\x04", b"\x0a\x01\x00"),  # unspecified
        encode_crl_entry(CrlEntry(257, NOW, 4)),  # may stand in its own part as well
    ],
)
def test_entries_that_are_none_are_not_signed(listed: bytes) -> None:
    with pytest.raises(Refused) as caught:
        lint_before_signing(SIGNER, ISSUER, PUBLISHED, ends(), {0: listed}, changed=(0,))
    assert caught.value.reason is Reason.LINT_FAILED


def test_every_part_that_changed_is_read_not_the_first_ones() -> None:
    many = parts_of(CrlEntry(2**158 + number, NOW, 4) for number in range(3000))
    for part in (0, 100, 255):
        broken = many | {part: many[part] + many[part]}
        with pytest.raises(Refused) as caught:
            lint_before_signing(SIGNER, ISSUER, PUBLISHED, ends(), broken, changed=many.keys())
        assert caught.value.reason is Reason.LINT_FAILED


def test_a_refused_list_never_reaches_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeAuthority()
    assert isinstance(fake.issuing.key, ec.EllipticCurvePrivateKey)
    signer = KeySigner(fake.issuing.key)
    subject = fake.issuing.certificate.subject
    assert sign_crl(signer, subject, PUBLISHED, PLAN, {}, changed=()).der

    def never(*data: bytes) -> bytes:
        raise AssertionError("signed")

    monkeypatch.setattr(signer, "sign", never)
    with pytest.raises(Refused):
        sign_crl(signer, subject, PUBLISHED, CrlPlan(7, NOW, NOW), {}, changed=())
