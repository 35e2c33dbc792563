"""Single denial records that almost prove something: each beside the one that does."""

import base64
from datetime import timedelta

import dns.dnssec
import dns.name
import dns.rrset
import pytest
from dns.rdatatype import RdataType

from pki.dnssec.denial import Cut, NsecDenial, Proof
from pki.dnssec.model import Budget, Limits
from pki.dnssec.nsec3 import Nsec3Denial
from pki.dnssec.signatures import Verified
from tests.fakes.dns import NOW, name

ZONE = name("ciz.nl.")


def verified(text: str) -> Verified:
    owner, rdtype, data = text.split(" ", 2)
    rrset = dns.rrset.from_text(owner, 60, "IN", rdtype, data)
    return Verified(rrset, None, 60, NOW + timedelta(days=1), 1, 13)


def nsec(*texts: str) -> NsecDenial:
    return NsecDenial(ZONE, [verified(f"{owner} NSEC {rest}") for owner, rest in (t.split(" ", 1) for t in texts)])


def digest(owner: str) -> bytes:
    return base64.b32hexdecode(dns.dnssec.nsec3_hash(owner, b"", 0, 1))


def shifted(value: bytes, by: int) -> str:
    number = (int.from_bytes(value, "big") + by) % (1 << 160)
    return base64.b32hexencode(number.to_bytes(20, "big")).decode()


def at(owner: str, types: str, flags: int = 0, zone: str = "ciz.nl.") -> Verified:
    """An NSEC3 that matches a name and covers nothing else."""
    own = digest(owner)
    return verified(f"{shifted(own, 0)}.{zone} NSEC3 1 {flags} 0 - {shifted(own, 1)} {types}")


def over(owner: str, flags: int = 0) -> Verified:
    """An NSEC3 that covers a name and nothing else."""
    own = digest(owner)
    return verified(f"{shifted(own, -1)}.ciz.nl. NSEC3 1 {flags} 0 - {shifted(own, 1)} A RRSIG")


def nsec3(*records: Verified) -> Nsec3Denial:
    return Nsec3Denial(ZONE, list(records), Budget(Limits()))


@pytest.mark.parametrize(
    ("types", "rdtype", "proof"),
    [
        ("MX", RdataType.A, Proof.PROVEN),
        ("A", RdataType.A, Proof.NONE),
        ("CNAME", RdataType.A, Proof.NONE),
        ("NS", RdataType.A, Proof.NONE),  # the parent's side of a cut
        ("NS SOA", RdataType.A, Proof.PROVEN),
        ("NS", RdataType.DS, Proof.PROVEN),
        ("NS DS", RdataType.DS, Proof.NONE),
        ("NS SOA", RdataType.DS, Proof.NONE),  # the child's side of a cut
    ],
)
def test_the_names_own_record_denies_a_type_only_from_the_right_side(
    types: str, rdtype: RdataType, proof: Proof
) -> None:
    owner = name("b.ciz.nl.")
    assert nsec(f"b.ciz.nl. c.ciz.nl. {types} RRSIG NSEC").no_type(owner, rdtype) is proof
    assert nsec3(at("b.ciz.nl.", f"{types} RRSIG")).no_type(owner, rdtype) is proof


@pytest.mark.parametrize(
    ("types", "cut"),
    [
        ("NS", Cut.UNSIGNED),
        ("A", Cut.NO_CUT),
        ("NS DS", Cut.UNPROVEN),
        ("NS SOA", Cut.UNPROVEN),
        ("", Cut.NO_CUT),
    ],
)
def test_a_cut_is_told_from_the_parents_record_only(types: str, cut: Cut) -> None:
    owner = name("b.ciz.nl.")
    assert nsec(f"b.ciz.nl. c.ciz.nl. {types} RRSIG NSEC").cut(owner) is cut
    assert nsec3(at("b.ciz.nl.", types)).cut(owner) is cut


@pytest.mark.parametrize(
    ("types", "proof"), [("A", Proof.PROVEN), ("NS", Proof.NONE), ("DNAME", Proof.NONE), ("NS SOA DNAME", Proof.NONE)]
)
def test_a_record_at_a_cut_or_dname_denies_nothing_below_it(types: str, proof: Proof) -> None:
    below = name("x.b.ciz.nl.")
    plain = nsec(f"b.ciz.nl. c.ciz.nl. {types} RRSIG NSEC")
    assert plain.no_name(below) is proof
    assert plain.no_closer(below, name("b.ciz.nl.")) is proof
    assert plain.cut(below) is (Cut.NO_NAME if proof is Proof.PROVEN else Cut.UNPROVEN)
    hashed = nsec3(at("b.ciz.nl.", types), over("x.b.ciz.nl."), over("*.b.ciz.nl."))
    assert hashed.no_name(below) is proof
    assert hashed.cut(below) is (Cut.NO_NAME if proof is Proof.PROVEN else Cut.UNPROVEN)


def test_nxdomain_needs_the_name_and_its_wildcard_denied() -> None:
    gone = name("m.ciz.nl.")
    whole, first = "ciz.nl. z.ciz.nl. NS SOA", "k.ciz.nl. z.ciz.nl. A"
    assert nsec(whole).no_name(gone) is Proof.PROVEN
    assert nsec(first).no_name(gone) is Proof.NONE
    assert nsec(first, "ciz.nl. b.ciz.nl. NS SOA").no_name(gone) is Proof.PROVEN
    assert nsec(first, "*.ciz.nl. b.ciz.nl. A", "ciz.nl. *.ciz.nl. NS SOA").no_name(gone) is Proof.NONE
    apex = at("ciz.nl.", "NS SOA")
    assert nsec3(apex, over("m.ciz.nl."), over("*.ciz.nl.")).no_name(gone) is Proof.PROVEN
    assert nsec3(apex, over("m.ciz.nl.")).no_name(gone) is Proof.NONE
    assert nsec3(apex, over("*.ciz.nl.")).no_name(gone) is Proof.NONE
    assert nsec3(over("m.ciz.nl."), over("*.ciz.nl.")).no_name(gone) is Proof.NONE
    assert nsec3(apex, over("m.ciz.nl.", flags=1), over("*.ciz.nl.")).no_name(gone) is Proof.OPT_OUT


def test_a_name_with_names_below_it_is_not_denied() -> None:
    parent = nsec("a.ciz.nl. x.m.ciz.nl. A", "ciz.nl. a.ciz.nl. NS SOA")
    assert parent.no_name(name("m.ciz.nl.")) is Proof.NONE
    assert parent.no_type(name("m.ciz.nl."), RdataType.A) is Proof.PROVEN
    assert parent.cut(name("m.ciz.nl.")) is Cut.NO_CUT
    assert parent.no_name(name("l.ciz.nl.")) is Proof.PROVEN


def test_a_wildcard_answer_needs_the_denial_of_just_its_closer_names() -> None:
    answered, encloser = name("a.b.w.ciz.nl."), name("w.ciz.nl.")
    assert nsec("*.w.ciz.nl. z.ciz.nl. A").no_closer(answered, encloser) is Proof.PROVEN
    # b.w exists, so *.w does not reach below it: the span proves a closer encloser than the wildcard's.
    assert nsec("b.w.ciz.nl. z.ciz.nl. A").no_closer(answered, encloser) is Proof.NONE
    assert nsec("*.w.ciz.nl. b.w.ciz.nl. A").no_closer(answered, encloser) is Proof.NONE
    assert nsec("*.w.ciz.nl. c.a.b.w.ciz.nl. A").no_closer(answered, encloser) is Proof.NONE
    assert nsec3(over("b.w.ciz.nl.")).no_closer(answered, encloser) is Proof.PROVEN
    assert nsec3(over("a.b.w.ciz.nl.")).no_closer(answered, encloser) is Proof.NONE
    assert nsec3(over("b.w.ciz.nl.", flags=1)).no_closer(answered, encloser) is Proof.OPT_OUT


def test_wildcard_nodata_needs_the_wildcards_own_bitmap() -> None:
    asked = name("m.w.ciz.nl.")
    span = "*.w.ciz.nl. z.ciz.nl."
    assert nsec(f"{span} A").no_type(asked, RdataType.MX) is Proof.PROVEN
    assert nsec(f"{span} MX").no_type(asked, RdataType.MX) is Proof.NONE
    assert nsec(f"{span} CNAME").no_type(asked, RdataType.MX) is Proof.NONE
    parts = (at("w.ciz.nl.", ""), over("m.w.ciz.nl."))
    assert nsec3(*parts, at("*.w.ciz.nl.", "A")).no_type(asked, RdataType.MX) is Proof.PROVEN
    assert nsec3(*parts, at("*.w.ciz.nl.", "MX")).no_type(asked, RdataType.MX) is Proof.NONE
    assert nsec3(*parts).no_type(asked, RdataType.MX) is Proof.NONE


def test_a_record_whose_next_name_leaves_the_zone_is_ignored() -> None:
    assert nsec("a.ciz.nl. ciz.nl. A", "ciz.nl. a.ciz.nl. NS SOA").no_name(name("m.ciz.nl.")) is Proof.PROVEN
    assert nsec("a.ciz.nl. evil.nl. A", "ciz.nl. a.ciz.nl. NS SOA").no_name(name("m.ciz.nl.")) is Proof.NONE


def test_hashed_records_of_another_zone_algorithm_flag_or_salt_are_ignored() -> None:
    asked = name("b.ciz.nl.")
    own = shifted(digest("b.ciz.nl."), 0)
    after = shifted(digest("b.ciz.nl."), 1)
    good = f"{own}.ciz.nl. NSEC3 1 0 0 - {after} MX"
    assert nsec3(verified(good)).no_type(asked, RdataType.A) is Proof.PROVEN
    for bad in (
        f"{own}.sub.ciz.nl. NSEC3 1 0 0 - {after} MX",
        f"{own}.ciz.nl. NSEC3 2 0 0 - {after} MX",
        f"{own}.ciz.nl. NSEC3 1 2 0 - {after} MX",
        f"not-base32.ciz.nl. NSEC3 1 0 0 - {after} MX",
    ):
        assert nsec3(verified(bad)).no_type(asked, RdataType.A) is Proof.NONE
    salted = verified(f"{shifted(digest('ciz.nl.'), 0)}.ciz.nl. NSEC3 1 0 0 abcd {after} NS SOA")
    assert nsec3(salted, verified(good)).no_type(asked, RdataType.A) is Proof.NONE


def test_without_records_nothing_is_proven() -> None:
    for denial in (nsec(), nsec3()):
        assert denial.no_name(name("m.ciz.nl.")) is Proof.NONE
        assert denial.no_type(name("m.ciz.nl."), RdataType.A) is Proof.NONE
        assert denial.no_closer(name("m.ciz.nl."), ZONE) is Proof.NONE
        assert denial.cut(name("m.ciz.nl.")) is Cut.UNPROVEN
