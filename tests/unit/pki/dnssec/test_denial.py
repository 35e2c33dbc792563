"""Proofs of absence and wildcards, with NSEC and with NSEC3, each beside what almost proves the same."""

import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns.rdatatype import RdataType

from pki.dnssec import Answer, DnssecState
from tests.fakes.dns import FakeDns, drop, name, strip

RECORDS = {
    "@": {"MX": ["10 register.ciz.nl."]},
    "register": ["127.0.0.1"],
    "*.w": ["127.0.0.2"],
    "exists.w": ["127.0.0.3"],
    "a.ent": ["127.0.0.4"],
    "*.alias": {"CNAME": ["register.ciz.nl."]},
    "zz": ["127.0.0.5"],
}
DENIALS = pytest.mark.parametrize("denial", ["nsec", "nsec3"])


def network(denial: str, **knobs: object) -> FakeDns:
    return FakeDns({"name": "ciz.nl", "records": RECORDS, "denial": denial, **knobs})


@DENIALS
@pytest.mark.parametrize(
    ("owner", "rdtype", "answer"),
    [
        ("register.ciz.nl.", "AAAA", Answer.NODATA),
        ("ciz.nl.", "A", Answer.NODATA),
        ("ent.ciz.nl.", "A", Answer.NODATA),
        ("any.w.ciz.nl.", "AAAA", Answer.NODATA),
        ("any.w.ciz.nl.", "A", Answer.DATA),
        ("deep.any.w.ciz.nl.", "A", Answer.DATA),
        ("any.alias.ciz.nl.", "A", Answer.DATA),
        ("any.alias.ciz.nl.", "AAAA", Answer.NODATA),
        ("*.w.ciz.nl.", "A", Answer.DATA),
        ("nope.ciz.nl.", "A", Answer.NXDOMAIN),
        ("zzz.ciz.nl.", "A", Answer.NXDOMAIN),
        ("0.ciz.nl.", "A", Answer.NXDOMAIN),
        ("a.b.c.nope.ciz.nl.", "A", Answer.NXDOMAIN),
        ("below.register.ciz.nl.", "A", Answer.NXDOMAIN),
    ],
)
async def test_absence_and_wildcards_are_proven(denial: str, owner: str, rdtype: str, answer: Answer) -> None:
    result = await network(denial).check(owner, rdtype)
    assert (result.state, result.answer) == (DnssecState.SECURE, answer), result.message


@DENIALS
@pytest.mark.parametrize(
    ("owner", "rdtype"), [("register.ciz.nl.", "AAAA"), ("nope.ciz.nl.", "A"), ("any.w.ciz.nl.", "A")]
)
async def test_without_its_proof_an_absence_or_wildcard_is_bogus(denial: str, owner: str, rdtype: str) -> None:
    dns_ = network(denial)
    dns_.tamper[owner, rdtype] = lambda answer: drop(answer, "NSEC", "NSEC3")
    assert (await dns_.check(owner, rdtype)).state is DnssecState.BOGUS


@DENIALS
async def test_with_any_one_record_of_an_nxdomain_proof_missing_it_is_bogus(denial: str) -> None:
    owner = "a.nope.ciz.nl."
    dns_ = network(denial)
    proofs = [r.name for r in dns_.raw(owner, "A").authority if r.rdtype in {RdataType.NSEC, RdataType.NSEC3}]
    for missing in proofs:

        def leave_out(answer: dns.message.Message, missing: object = missing) -> dns.message.Message:
            answer.authority = [r for r in answer.authority if r.name != missing or r.rdtype == RdataType.SOA]
            return answer

        dns_.tamper[owner, "A"] = leave_out
        assert (await dns_.check(owner)).state is DnssecState.BOGUS


@DENIALS
async def test_a_denial_with_stripped_signatures_says_so(denial: str) -> None:
    dns_ = network(denial)
    rdtype = denial.upper()

    def strip_all(answer: dns.message.Message) -> dns.message.Message:
        for rrset in [r for r in answer.authority if r.rdtype.name == rdtype]:
            strip(answer, str(rrset.name), rdtype)
        return answer

    dns_.tamper["nope.ciz.nl.", "A"] = strip_all
    result = await dns_.check("nope.ciz.nl.")
    assert result.state is DnssecState.BOGUS
    assert "no RRSIG on" in result.message


@DENIALS
async def test_a_wildcard_replayed_over_an_existing_name_is_bogus(denial: str) -> None:
    dns_ = network(denial)
    target = "exists.w.ciz.nl."
    for donor in ("other.w.ciz.nl.", "exists.w.ciz.nl."):
        wildcard = dns_.raw("other.w.ciz.nl.", "A")
        proof = dns_.raw(donor, "AAAA").authority

        def replay(
            answer: dns.message.Message, wildcard: dns.message.Message = wildcard, proof: list[dns.rrset.RRset] = proof
        ) -> dns.message.Message:
            answer.answer = [dns.rrset.from_rdata_list(name(target), r.ttl, list(r)) for r in wildcard.answer]
            answer.authority = [*wildcard.authority, *proof]
            return answer

        dns_.tamper[target, "A"] = replay
        result = await dns_.check(target)
        assert result.state is DnssecState.BOGUS
        assert "without proof that no closer name exists" in result.message


async def test_a_denial_record_expanded_from_a_wildcard_is_not_believed() -> None:
    """The NSEC of `*.w` shown under another name keeps a valid signature, and would deny that name's types."""
    dns_ = network("nsec")
    donor = dns_.raw("*.w.ciz.nl.", "AAAA")

    def expand(answer: dns.message.Message) -> dns.message.Message:
        answer.answer = []
        answer.authority = [
            dns.rrset.from_rdata_list(name("exists.w.ciz.nl."), r.ttl, list(r))
            for r in donor.authority
            if RdataType.NSEC in {r.rdtype, r.covers}
        ]
        return answer

    assert (await dns_.check("exists.w.ciz.nl.", "MX")).answer is Answer.NODATA
    dns_.tamper["exists.w.ciz.nl.", "MX"] = expand
    assert (await dns_.check("exists.w.ciz.nl.", "MX")).state is DnssecState.BOGUS


async def test_a_ds_expanded_from_a_wildcard_is_refused() -> None:
    """A zone owner with `*.w` cannot have the wildcard's DS taken for a delegation of a name below it."""
    child = FakeDns({"name": "x.w.ciz.nl", "records": {"host": ["127.0.0.1"]}})
    key = child.zone("x.w.ciz.nl").key
    assert key is not None
    ds = key.ds(name("x.w.ciz.nl.")).to_text()
    dns_ = FakeDns({"name": "ciz.nl", "records": {"*.w": {"DS": [ds]}}})
    dns_.tamper["x.w.ciz.nl.", "DNSKEY"] = lambda _: child.raw("x.w.ciz.nl.", "DNSKEY")
    dns_.tamper["host.x.w.ciz.nl.", "A"] = lambda _: child.raw("host.x.w.ciz.nl.", "A")
    dns_.tamper["host.x.w.ciz.nl.", "DS"] = lambda _: child.raw("host.x.w.ciz.nl.", "DS")
    result = await dns_.check("host.x.w.ciz.nl.")
    assert result.state is DnssecState.BOGUS
    assert "comes from a wildcard" in result.message


@DENIALS
async def test_a_wildcard_cname_replayed_over_a_delegation_is_bogus(denial: str) -> None:
    """It would make a signed child look like a name without a cut, and its data like the parent's."""
    records = {"*": {"CNAME": ["register.ciz.nl."]}, "register": ["127.0.0.1"]}
    dns_ = FakeDns(
        {"name": "ciz.nl", "records": records, "denial": denial},
        {"name": "sub.ciz.nl", "records": {"@": ["127.0.0.1"]}},
    )
    assert (await dns_.check("sub.ciz.nl.")).state is DnssecState.SECURE
    donor = dns_.raw("other.ciz.nl.", "A")

    def replay(answer: dns.message.Message) -> dns.message.Message:
        answer.answer = [dns.rrset.from_rdata_list(name("sub.ciz.nl."), r.ttl, list(r)) for r in donor.answer[:2]]
        answer.authority = donor.authority
        return answer

    dns_.tamper["sub.ciz.nl.", "DS"] = replay
    result = await dns_.check("sub.ciz.nl.")
    assert result.state is DnssecState.BOGUS
    assert "no signed proof" in result.message


@DENIALS
async def test_a_denial_of_another_type_or_name_is_bogus(denial: str) -> None:
    dns_ = network(denial)
    for victim, donor in (
        (("register.ciz.nl.", "A"), ("nope.ciz.nl.", "A")),
        (("zz.ciz.nl.", "A"), ("ent.ciz.nl.", "A")),
    ):

        def replay(answer: dns.message.Message, donor: tuple[str, str] = donor) -> dns.message.Message:
            other = dns_.raw(*donor)
            answer.answer, answer.authority = [], other.authority
            answer.set_rcode(other.rcode())
            return answer

        dns_.tamper[victim] = replay
        assert (await dns_.check(*victim)).state is DnssecState.BOGUS


@DENIALS
async def test_the_parents_record_at_a_cut_does_not_deny_the_childs_types(denial: str) -> None:
    dns_ = FakeDns({"name": "nl", "denial": denial}, {"name": "ciz.nl", "records": {"@": ["127.0.0.1"]}})
    parent_side = dns_.raw("ciz.nl.", "DS")
    assert parent_side.answer  # the DS is there; its NSEC comes with the denial of a neighbour
    dns_.tamper["ciz.nl.", "A"] = lambda _: dns_.raw("nope.nl.", "A")
    assert (await dns_.check("ciz.nl.")).state is DnssecState.BOGUS


@pytest.mark.parametrize(("secure", "state"), [(True, DnssecState.SECURE), (False, DnssecState.INSECURE)])
async def test_opt_out_hides_unsigned_delegations_only(secure: bool, state: DnssecState) -> None:  # noqa: FBT001
    dns_ = FakeDns(
        {"name": "nl", "denial": "nsec3-opt-out"},
        {"name": "ciz.nl", "state": "secure" if secure else "unsigned", "records": RECORDS},
    )
    result = await dns_.check("register.ciz.nl.")
    assert result.state is state
    if not secure:
        assert result.message == "no DS at nl. for ciz.nl. (opt-out)"


async def test_without_opt_out_an_uncovered_delegation_is_bogus() -> None:
    """The same stripped DS is insecure under opt-out only when the span really covers the name."""
    dns_ = FakeDns({"name": "nl", "denial": "nsec3-opt-out"}, {"name": "ciz.nl", "records": RECORDS}, {"name": "b.nl"})
    proof = dns_.raw("nope.nl.", "DS")

    def strip_ds(answer: dns.message.Message) -> dns.message.Message:
        answer.answer, answer.authority = [], proof.authority
        return answer

    dns_.tamper["ciz.nl.", "DS"] = strip_ds
    assert (await dns_.check("register.ciz.nl.")).state is DnssecState.BOGUS


@pytest.mark.parametrize(
    ("iterations", "state"), [(0, DnssecState.SECURE), (100, DnssecState.SECURE), (101, DnssecState.INSECURE)]
)
async def test_too_many_nsec3_iterations_make_a_zone_insecure(iterations: int, state: DnssecState) -> None:
    dns_ = network("nsec3", iterations=iterations)
    for owner in ("nope.ciz.nl.", "any.w.ciz.nl."):
        result = await dns_.check(owner)
        assert result.state is state
        if state is DnssecState.INSECURE:
            assert "101 NSEC3 iterations" in result.message


async def test_nxdomain_claimed_for_a_name_that_is_proven_to_exist_without_the_type_is_nodata() -> None:
    dns_ = network("nsec")

    def claim(answer: dns.message.Message) -> dns.message.Message:
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    dns_.tamper["ent.ciz.nl.", "A"] = claim
    result = await dns_.check("ent.ciz.nl.")
    assert (result.state, result.answer) == (DnssecState.SECURE, Answer.NODATA)


async def test_noerror_with_a_proof_that_the_name_does_not_exist_is_bogus() -> None:
    dns_ = network("nsec")

    def claim(answer: dns.message.Message) -> dns.message.Message:
        answer.set_rcode(dns.rcode.NOERROR)
        return answer

    dns_.tamper["nope.ciz.nl.", "A"] = claim
    assert (await dns_.check("nope.ciz.nl.")).state is DnssecState.BOGUS


@DENIALS
async def test_a_wildcard_that_is_an_empty_non_terminal_has_no_types(denial: str) -> None:
    """RFC 4592 section 2.2.2: `*.lit` is there because of the name below it, and matches."""
    dns_ = FakeDns({"name": "ciz.nl", "records": {"a.*.lit": ["127.0.0.1"], "zz": ["127.0.0.2"]}, "denial": denial})
    for owner in ("x.lit.ciz.nl.", "x.y.lit.ciz.nl."):
        result = await dns_.check(owner)
        assert (result.state, result.answer) == (DnssecState.SECURE, Answer.NODATA), result.message
    # A proof from elsewhere in the zone says nothing about that wildcard.
    elsewhere = dns_.raw("zz.ciz.nl.", "AAAA").authority

    def replayed(answer: dns.message.Message) -> dns.message.Message:
        answer.authority = elsewhere
        return answer

    dns_.tamper["x.lit.ciz.nl.", "A"] = replayed
    assert (await dns_.check("x.lit.ciz.nl.")).state is DnssecState.BOGUS
