"""TLSA records against real certificates: what matches, and what only looks as if it did."""

import hashlib
from datetime import datetime, timedelta

import dns.rdata
import dns.rdataclass
import hypothesis.strategies as st
import pytest
from asn1crypto import core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TLSA import TLSA
from hypothesis import given

from pki.dnssec import DnssecResult, DnssecState
from pki.dnssec.dane import Association, DaneOutcome, DaneResult, check_dane, tlsa_for
from tests.fakes.dns import NOW, FakeDns

HOST = "register.ciz.nl"
OWNER = "_443._tcp.register"


class Party:
    """A key with a certificate, issued by itself or by another party."""

    def __init__(
        self,
        common_name: str,
        issuer: "Party | None" = None,
        *,
        ca: bool = False,
        host: str = HOST,
        ends: datetime = NOW + timedelta(days=90),
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        by = issuer or self
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=400))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(by.key, hashes.SHA256())
        )

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def tlsa(self, usage: int, selector: int = 1, matching: int = 1) -> str:
        data = self.der
        if selector == 1:
            data = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = {0: data, 1: hashlib.sha256(data).digest(), 2: hashlib.sha512(data).digest()}[matching]
        return f"{usage} {selector} {matching} {digest.hex()}"


ROOT = Party("root", ca=True)
ISSUING = Party("issuing", ROOT, ca=True)
LEAF = Party("leaf", ISSUING)
OTHER = Party("other", ISSUING)


async def dane(records: list[str], *presented: Party, **zone: str) -> DaneResult:
    tlsa = {OWNER: {"TLSA": records}} if records else {"x": ["127.0.0.1"]}
    network = FakeDns({"name": "ciz.nl", "records": tlsa, **zone})
    return await check_dane(network.validator(), HOST, 443, [party.der for party in presented], NOW)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [1, 2])
async def test_usage_3_matches_the_leaf_and_no_other(selector: int, matching: int) -> None:
    record = LEAF.tlsa(3, selector, matching)
    assert (await dane([record], LEAF, ISSUING)).outcome is DaneOutcome.MATCHED
    assert (await dane([record], OTHER, ISSUING)).outcome is DaneOutcome.MISMATCHED
    assert (await dane([record], OTHER, LEAF)).outcome is DaneOutcome.MISMATCHED


async def test_usage_3_asks_neither_for_name_nor_for_time() -> None:
    old = Party("old", host="elsewhere.nl", ends=NOW - timedelta(days=1))
    assert (await dane([old.tlsa(3)], old)).outcome is DaneOutcome.MATCHED


async def test_the_records_that_are_recommended_fit_the_leaf_or_whatever_its_authority_issues_for_the_name() -> None:
    own, authority = [tlsa_for(LEAF.der)], [tlsa_for(ISSUING.der, authority=True)]
    for presented, fits_own in ((LEAF, True), (OTHER, False)):
        assert ((await dane(own, presented, ISSUING)).outcome is DaneOutcome.MATCHED) == fits_own
        assert (await dane(authority, presented, ISSUING)).outcome is DaneOutcome.MATCHED
    assert (await dane(authority, Party("leaf"), ISSUING)).outcome is DaneOutcome.MISMATCHED


async def test_usage_2_matches_a_chain_that_really_leads_there() -> None:
    record = [ROOT.tlsa(2)]
    assert (await dane(record, LEAF, ISSUING, ROOT)).outcome is DaneOutcome.MATCHED
    assert (await dane([ISSUING.tlsa(2)], LEAF, ISSUING)).outcome is DaneOutcome.MATCHED
    rogue = Party("rogue", Party("issuing", ca=True))
    for presented in (
        (LEAF, ROOT),  # a link is missing
        (rogue, ISSUING, ROOT),  # the leaf was not issued by it
        (LEAF, ISSUING),  # the anchor is not presented
        (ROOT,),  # the anchor itself as a leaf
    ):
        assert (await dane(record, *presented)).outcome is DaneOutcome.MISMATCHED


@pytest.mark.parametrize(
    "leaf",
    [
        Party("leaf", ISSUING, host="elsewhere.nl"),
        Party("leaf", ISSUING, ends=NOW - timedelta(seconds=1)),
        Party("leaf", LEAF),  # issued by a certificate that is no CA
    ],
)
async def test_usage_2_asks_for_name_time_and_authority(leaf: Party) -> None:
    chain = (leaf, LEAF, ISSUING) if leaf.certificate.issuer == LEAF.name else (leaf, ISSUING)
    assert (await dane([ISSUING.tlsa(2)], *chain)).outcome is DaneOutcome.MISMATCHED


@pytest.mark.parametrize("usage", [0, 1, 4, 255])
async def test_unusable_records_alone_mean_no_dane_and_beside_others_are_skipped(usage: int) -> None:
    unusable = [OTHER.tlsa(usage), OTHER.tlsa(3, matching=0), "3 2 1 " + "00" * 32]
    assert (await dane(unusable, LEAF)).outcome is DaneOutcome.ABSENT
    assert (await dane([*unusable, LEAF.tlsa(3)], LEAF)).outcome is DaneOutcome.MATCHED
    assert (await dane([*unusable, OTHER.tlsa(3)], LEAF)).outcome is DaneOutcome.MISMATCHED


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("secure", DaneOutcome.MISMATCHED),
        ("no-ds", DaneOutcome.ABSENT),
        ("unsigned", DaneOutcome.ABSENT),
        ("wrong-ds", DaneOutcome.FAILED),
        ("expired", DaneOutcome.FAILED),
    ],
)
async def test_tlsa_counts_only_in_a_secure_zone(state: str, outcome: DaneOutcome) -> None:
    assert (await dane([OTHER.tlsa(3)], LEAF, state=state)).outcome is outcome


async def test_no_record_is_no_dane_and_no_certificate_no_match() -> None:
    assert (await dane([], LEAF)).outcome is DaneOutcome.ABSENT
    assert (await dane([LEAF.tlsa(3)])).outcome is DaneOutcome.MISMATCHED


async def test_malformed_certificates_do_not_match() -> None:
    network = FakeDns({"name": "ciz.nl", "records": {OWNER: {"TLSA": [LEAF.tlsa(3)]}}})
    for der in (b"", b"\x30\x00", LEAF.der[:-1]):
        result = await check_dane(network.validator(), HOST, 443, [der], NOW)
        assert result.outcome is DaneOutcome.MISMATCHED


async def test_the_recommended_record_matches_its_certificate() -> None:
    assert tlsa_for(LEAF.der) == LEAF.tlsa(3)
    with pytest.raises(ValueError, match="key can be read"):
        tlsa_for(b"nothing")


def with_twice(certificate: bytes, signed_by: Party, *, oid: str = "2.5.29.17") -> bytes:
    """The certificate with one of its extensions a second time, under a good signature."""
    loaded = asn1_x509.Certificate.load(certificate)
    body = loaded["tbs_certificate"]
    again = [e for e in body["extensions"] if e["extn_id"].dotted == oid]
    body["extensions"] = asn1_x509.Extensions([*body["extensions"], *again])
    loaded["tbs_certificate"] = body
    loaded["signature_value"] = core.OctetBitString(
        signed_by.key.sign(body.dump(force=True), ec.ECDSA(hashes.SHA256()))
    )
    made: bytes = loaded.dump(force=True)
    return made


async def test_a_certificate_with_an_extension_twice_fits_nothing_and_raises_nothing() -> None:
    """RFC 5280 section 4.2: not more than one instance. The library says so with an exception of its own."""
    twice = with_twice(LEAF.der, ISSUING)
    issuer_twice = with_twice(ISSUING.der, ROOT, oid="2.5.29.19")
    with pytest.raises(x509.DuplicateExtension):
        _ = x509.load_der_x509_certificate(twice).extensions
    for record, chain, outcome in (
        (ISSUING.tlsa(2), [LEAF.der, ISSUING.der], DaneOutcome.MATCHED),
        (ISSUING.tlsa(2), [twice, ISSUING.der], DaneOutcome.MISMATCHED),
        (ISSUING.tlsa(2), [LEAF.der, issuer_twice], DaneOutcome.MISMATCHED),
        # Usage 3 looks at the key only, and that is the key (RFC 7671 section 5.1).
        (LEAF.tlsa(3), [twice, ISSUING.der], DaneOutcome.MATCHED),
    ):
        network = FakeDns({"name": "ciz.nl", "records": {OWNER: {"TLSA": [record]}}})
        result = await check_dane(network.validator(), HOST, 443, chain, NOW)
        assert result.outcome is outcome
    assert tlsa_for(twice) == tlsa_for(LEAF.der)


@given(
    st.sampled_from([LEAF.der, ISSUING.der]),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_damaged_certificate_is_an_outcome(der: bytes, damage: list[tuple[int, int]], first: bool) -> None:  # noqa: FBT001
    spoilt = bytearray(der)
    for position, value in damage:
        spoilt[position % len(spoilt)] = value
    standing = DnssecResult("x.", DnssecState.SECURE, "", NOW, ())
    usable = tuple(
        record
        for party in (LEAF, ISSUING)
        for record in (tlsa_record(party.tlsa(3)), tlsa_record(party.tlsa(2)), tlsa_record(party.tlsa(2, 0, 2)))
    )
    chain = [bytes(spoilt), ISSUING.der] if first else [LEAF.der, bytes(spoilt), ROOT.der]
    result = Association(HOST, "x.", usable, standing).compare(chain, NOW)
    assert result.outcome in {DaneOutcome.MATCHED, DaneOutcome.MISMATCHED}


def tlsa_record(text: str) -> TLSA:
    record = dns.rdata.from_text(dns.rdataclass.IN, RdataType.TLSA, text)
    assert isinstance(record, TLSA)
    return record
