"""The zones and the table of scenarios of the differential DNSSEC test: what each name must come out as, and why."""

import math
from dataclasses import dataclass
from typing import Any

import dns.dnssec
import dns.message
import dns.name
import dns.rdata
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from deploy.lab.dns import Responder
from pki.dnssec import DnssecState
from pki.dnssec.transport import question
from tests.fakes.dns import drop, find, strip
from tests.fakes.dns_signers import Change, OwnKey, Source, ds_of, good_ds

SECURE, INSECURE = DnssecState.SECURE, DnssecState.INSECURE
BOGUS, UNREACHABLE = DnssecState.BOGUS, DnssecState.UNREACHABLE
INDETERMINATE = DnssecState.INDETERMINATE

LEAF = """\
@ MX 10 host
host A 127.0.0.1
www CNAME host
three CNAME two
two CNAME www
*.w A 127.0.0.2
exists.w A 127.0.0.3
*.wa CNAME host
a.b.ent A 127.0.0.4
big TXT "{long}" "{long}" "{long}" "{long}" "{long}" "{long}" "{long}"
out CNAME host.a13.nl.
moved DNAME a13.nl.
nowhere CNAME nope
""".format(long="x" * 240)


def wrong_digest(zone: dns.name.Name, key: DNSKEY) -> list[str]:
    tag, algorithm, kind, digest = good_ds(zone, key)[0].split()
    return [f"{tag} {algorithm} {kind} {digest[2:]}{digest[:2]}"]


def wrong_tag(zone: dns.name.Name, key: DNSKEY) -> list[str]:
    tag, rest = good_ds(zone, key)[0].split(" ", 1)
    return [f"{(int(tag) + 1) % 65536} {rest}"]


def unknown_digest(zone: dns.name.Name, key: DNSKEY) -> list[str]:
    tag, algorithm, _, digest = good_ds(zone, key)[0].split()
    return [f"{tag} {algorithm} 200 {digest}"]


def unknown_algorithm(zone: dns.name.Name, key: DNSKEY) -> list[str]:
    tag, _, kind, digest = good_ds(zone, key)[0].split()
    return [f"{tag} 200 {kind} {digest}"]


def sha1_digest(zone: dns.name.Name, key: DNSKEY) -> list[str]:
    made = dns.dnssec.make_ds(zone, key, "SHA1", policy=dns.dnssec.allow_all_policy)
    return [made.to_text()]


def sha384_digest(zone: dns.name.Name, key: DNSKEY) -> list[str]:
    return [dns.dnssec.make_ds(zone, key, "SHA384").to_text()]


def none(_zone: dns.name.Name, _key: DNSKEY) -> list[str]:
    return []


def rsa_key(exponent: int, bits: int = 2048, **how: Any) -> OwnKey:
    """A key with an exponent that no program makes: the primes of an ordinary one."""
    while True:
        numbers = rsa.generate_private_key(65537, bits).private_numbers()
        order = math.lcm(numbers.p - 1, numbers.q - 1)
        if math.gcd(exponent, order) == 1:
            break
    d, n = pow(exponent, -1, order), numbers.p * numbers.q
    halves = d % (numbers.p - 1), d % (numbers.q - 1), pow(numbers.q, -1, numbers.p)
    made = rsa.RSAPrivateNumbers(numbers.p, numbers.q, d, *halves, rsa.RSAPublicNumbers(exponent, n))
    return OwnKey(made.private_key(), 8, **how)


def ec_key(**how: Any) -> OwnKey:
    return OwnKey(ec.generate_private_key(ec.SECP256R1()), 13, **how)


EXPONENT_3, EXPONENT_33 = rsa_key(3), rsa_key(2**32 + 1)
EXPONENT_36, EXPONENT_1000 = rsa_key(2**35 + 1), rsa_key(2**999 + 1)
RSA_1024 = rsa_key(65537, 1024)
KSK, ZSK, STANDBY = ec_key(), ec_key(flags=256), ec_key(signs=False)
OLD, NEW = rsa_key(65537), ec_key()
ED25519, ED448 = OwnKey(Ed25519PrivateKey.generate(), 15), OwnKey(Ed448PrivateKey.generate(), 16)
REVOKED = ec_key(flags=257 | 128)
CROWD = tuple(ec_key(flags=256, signs=False) for _ in range(32))

CHOSEN = (
    Source("e3.nl", LEAF, signer="keys", keys=(EXPONENT_3,), ds=ds_of(EXPONENT_3)),
    Source("e33.nl", LEAF, signer="keys", keys=(EXPONENT_33,), ds=ds_of(EXPONENT_33)),
    Source("rsa1024.nl", LEAF, signer="keys", keys=(RSA_1024,), ds=ds_of(RSA_1024)),
    Source("split.nl", LEAF, signer="keys", keys=(KSK, ZSK), ds=ds_of(KSK)),
    Source("standby.nl", LEAF, signer="keys", keys=(KSK, ZSK, STANDBY), ds=ds_of(KSK, STANDBY)),
    Source("double.nl", LEAF, signer="keys", keys=(OLD, NEW), ds=ds_of(OLD, NEW)),
    Source("double-old.nl", LEAF, signer="keys", keys=(OLD, NEW), ds=ds_of(OLD)),
    Source("double-new.nl", LEAF, signer="keys", keys=(OLD, NEW), ds=ds_of(NEW)),
    Source("both-ed.nl", LEAF, signer="keys", keys=(ED25519, ED448), ds=ds_of(ED25519, ED448)),
)
"""Zones with keys as signers had them in the past, or have them in a rollover; all in order, asked like `STANDARD`."""

ODD = (
    Source("e36.nl", LEAF, signer="keys", keys=(EXPONENT_36,), ds=ds_of(EXPONENT_36)),
    Source("e1000.nl", LEAF, signer="keys", keys=(EXPONENT_1000,), ds=ds_of(EXPONENT_1000)),
    Source("revoked.nl", LEAF, signer="keys", keys=(REVOKED, ZSK), ds=ds_of(REVOKED)),
    Source("only-standby.nl", LEAF, signer="keys", keys=(KSK, ZSK, STANDBY), ds=ds_of(STANDBY)),
    Source("crowd.nl", LEAF, signer="keys", keys=(KSK, ZSK, *CROWD), ds=ds_of(KSK)),
    Source("many-ds.nl", LEAF, ds=lambda z, k: good_ds(z, k) + [f"{n} 13 2 {n:064x}" for n in range(1, 17)]),
    Source("sha1-and-unknown.nl", LEAF, ds=lambda z, k: unknown_digest(z, k) + sha1_digest(z, k)),
    # Nothing but the apex: one NSEC that points at itself.
    Source("apex.nl"),
    Source("apex-n3.nl", denial="nsec3"),
    Source("star.nl", "a.*.lit A 127.0.0.5\n*.sub.w A 127.0.0.6\n*.w TXT x\nhost A 127.0.0.1"),
    Source("star-n3.nl", "a.*.lit A 127.0.0.5\n*.sub.w A 127.0.0.6\n*.w TXT x\nhost A 127.0.0.1", denial="nsec3"),
    Source("chain.nl", "c0 A 127.0.0.1\n" + "".join(f"c{n} CNAME c{n - 1}\n" for n in range(1, 11))),
    Source("long.example", f"{'.'.join('abcdefghijklmnopqrstuvwxyz')} A 127.0.0.1"),
    # An island: signed below a zone that nobody signs, and reached by an alias from a sound one.
    Source("island.no-ds.nl", LEAF, ds=good_ds),
    Source("to-island.nl", "www CNAME host.island.no-ds.nl."),
)

STANDARD = (
    Source("a8.nl", LEAF, algorithm=8),
    Source("a8n3.nl", LEAF, algorithm=8, denial="nsec3"),
    Source("a13.nl", LEAF),
    Source("a13n3.nl", LEAF, denial="nsec3"),
    Source("a14.nl", LEAF, algorithm=14),
    Source("a15.example", LEAF, algorithm=15),
    Source("a15n3.care", LEAF, algorithm=15, denial="nsec3", salt="abcd", iterations=5),
    Source("a16.nl", LEAF, algorithm=16),
    Source("k8.nl", LEAF, signer="knot", algorithm=8),
    Source("k13.example", LEAF, signer="knot"),
    Source("k13n3.nl", LEAF, signer="knot", denial="nsec3"),
    Source("k14n3.care", LEAF, signer="knot", algorithm=14, denial="nsec3"),
    Source("k15.nl", LEAF, signer="knot", algorithm=15),
)
"""Zones that are all in order, by both signers; each is asked everything in `LOOKUPS`."""

SPECIAL = (
    Source("", algorithm=8),
    # NSEC3 with the opt-out flag, as the real nl; ldns keeps unsigned delegations in the chain, knot leaves them out
    # (`oo.example`). The other two have NSEC, and NSEC3 without opt-out.
    Source("nl", denial="nsec3-opt-out", records="txt TXT x"),
    Source("example", records="txt TXT x"),
    Source("care", denial="nsec3", records="txt TXT x\nalias CNAME host.a13.nl."),
    *(Source(f"unsigned.{top}", LEAF, signer="") for top in ("nl", "example", "care")),
    *(Source(f"no-ds.{top}", LEAF, ds=none) for top in ("nl", "example", "care")),
    Source("below.unsigned.example", LEAF),
    Source("wrong-digest.nl", LEAF, ds=wrong_digest),
    Source("wrong-tag.example", LEAF, ds=wrong_tag),
    Source("unknown-digest.nl", LEAF, ds=unknown_digest),
    Source("unknown-algorithm.nl", LEAF, ds=unknown_algorithm),
    Source("sha1-digest.nl", LEAF, ds=sha1_digest),
    Source("sha1-algorithm.nl", LEAF, algorithm=7, denial="nsec3"),
    Source("sha384.nl", LEAF, ds=sha384_digest),
    Source("two-ds.nl", LEAF, ds=lambda z, k: wrong_digest(z, k) + good_ds(z, k)),
    Source("mixed-ds.nl", LEAF, ds=lambda z, k: unknown_algorithm(z, k) + good_ds(z, k)),
    Source("mixed-bad-ds.nl", LEAF, ds=lambda z, k: unknown_algorithm(z, k) + wrong_digest(z, k)),
    Source("expired.nl", LEAF, begins=-40, ends=-3),
    Source("early.nl", LEAF, begins=3, ends=30),
    Source("expired-n3.example", LEAF, denial="nsec3", begins=-40, ends=-3),
    Source("i1.nl", LEAF, denial="nsec3", iterations=1),
    Source("i100.nl", LEAF, denial="nsec3", iterations=100),
    Source("i101.nl", LEAF, denial="nsec3", iterations=101),
    Source("oo.example", LEAF, signer="knot", denial="nsec3-opt-out"),
    Source("signed.oo.example", LEAF),
    Source("unsigned.oo.example", LEAF, signer=""),
    Source("a.b.c.deep.example", LEAF, algorithm=15),
    Source("sub.a13.nl", LEAF),
    Source("unsigned.a13.nl", LEAF, signer=""),
    Source("lame.nl", "gone NS ns.gone\nhost A 127.0.0.1"),
    Source(
        "aliases.nl",
        "secure CNAME host.a15.example.\nunsigned CNAME host.unsigned.nl.\nwrong CNAME host.wrong-digest.nl.\n"
        "expired CNAME host.expired.nl.\ndsecure DNAME k13.example.\ndunsigned DNAME unsigned.example.\n"
        "dwrong DNAME wrong-digest.nl.\nlong CNAME three.k15.nl.\nwild CNAME x.w.a13n3.nl.\n"
        "nodata CNAME big.a8.nl.\nlame CNAME host.gone.lame.nl.\nback CNAME on.unsigned-aliases.nl.\n"
        "*.any CNAME host.unsigned.care.\n",
    ),
    Source("unsigned-aliases.nl", "on CNAME host.a13.nl.\nbad CNAME host.wrong-digest.nl.", signer=""),
    *(Source(f"tampered{n}.nl", LEAF) for n in ("", "-n3")),
)

SOURCES = (*STANDARD, *CHOSEN, *SPECIAL, *ODD)


@dataclass(frozen=True)
class Scenario:
    """One question and what must come of it.

    `theirs`: where unbound differs on purpose, with the `why`.
    """

    owner: str
    rdtype: str
    state: DnssecState
    theirs: DnssecState | None = None
    why: str = ""
    change: tuple[str, str, Change] | None = None

    @property
    def label(self) -> str:
        return f"{self.owner}/{self.rdtype}"


LOOKUPS = (
    ("host", "A"),  # data
    ("host", "AAAA"),  # NODATA
    ("nope", "A"),  # NXDOMAIN
    ("b.ent", "A"),  # empty non-terminal
    ("any.w", "A"),  # wildcard
    ("any.w", "AAAA"),  # wildcard NODATA
    ("any.wa", "A"),  # wildcard CNAME
    ("www", "A"),  # CNAME
    ("three", "A"),  # CNAME chain
    ("out", "A"),  # CNAME into another zone
    ("host.moved", "A"),  # DNAME into another zone
    ("nowhere", "A"),  # CNAME to NXDOMAIN
    ("big", "TXT"),  # TCP only
)

_SHA1 = "RFC 9905: SHA-1 counts as unsigned here; unbound 1.17 still accepts it"


def _plain() -> list[Scenario]:
    return [
        Scenario(f"{prefix}.{zone.name}", rdtype, SECURE) for zone in (*STANDARD, *CHOSEN) for prefix, rdtype in LOOKUPS
    ]


_SLOW = "a long exponent makes each verification slow, which is an attack here"
_ORDER = "more of them than a rollover needs are refused here (limit against KeyTrap)"


def _odd() -> list[Scenario]:
    rows = [
        ("host.e36.nl", "A", BOGUS, SECURE, _SLOW),
        ("host.e1000.nl", "A", BOGUS, SECURE, _SLOW),
        ("host.crowd.nl", "A", BOGUS, SECURE, _ORDER),
        ("host.many-ds.nl", "A", BOGUS, SECURE, _ORDER),
        ("host.revoked.nl", "A", BOGUS, SECURE, "RFC 5011 section 2.1: a revoked key vouches for nothing but that"),
        ("host.only-standby.nl", "A", BOGUS, None, ""),
        ("host.sha1-and-unknown.nl", "A", INSECURE, SECURE, _SHA1),
        ("c8.chain.nl", "A", SECURE, None, ""),
        ("c9.chain.nl", "A", INDETERMINATE, SECURE, "we follow eight aliases"),
        (f"{'.'.join('abcdefghijklmnopqrstuvwxyz')}.long.example", "A", SECURE, None, ""),
        ("q.long.example", "A", SECURE, None, ""),
        ("z.long.example", "MX", SECURE, None, ""),
        ("host.island.no-ds.nl", "A", INSECURE, None, ""),
        ("www.to-island.nl", "A", INSECURE, None, ""),
    ]
    for n3 in ("", "-n3"):
        rows += [
            (f"apex{n3}.nl", "MX", SECURE, None, ""),
            (f"apex{n3}.nl", "SOA", SECURE, None, ""),
            (f"nope.apex{n3}.nl", "A", SECURE, None, ""),
            (f"a.b.c.apex{n3}.nl", "TLSA", SECURE, None, ""),
            (f"*.apex{n3}.nl", "A", SECURE, None, ""),
            (f"a.*.lit.star{n3}.nl", "A", SECURE, None, ""),
            (f"b.*.lit.star{n3}.nl", "A", SECURE, None, ""),
            (f"*.lit.star{n3}.nl", "A", SECURE, None, ""),
            (f"x.lit.star{n3}.nl", "A", SECURE, None, ""),
            (f"x.y.lit.star{n3}.nl", "A", SECURE, None, ""),
            (f"x.sub.w.star{n3}.nl", "A", SECURE, None, ""),
            (f"x.y.sub.w.star{n3}.nl", "A", SECURE, None, ""),
            (f"sub.w.star{n3}.nl", "A", SECURE, None, ""),
            (f"x.w.star{n3}.nl", "TXT", SECURE, None, ""),
            (f"x.w.star{n3}.nl", "A", SECURE, None, ""),
        ]
    return [Scenario(*row) for row in rows]


def _special() -> list[Scenario]:
    rows: list[tuple[str, DnssecState]] = [
        *((f"host.unsigned.{top}", INSECURE) for top in ("nl", "example", "care")),
        *((f"host.no-ds.{top}", INSECURE) for top in ("nl", "example", "care")),
        *((f"nope.unsigned.{top}", INSECURE) for top in ("nl", "example", "care")),
        ("host.below.unsigned.example", INSECURE),
        ("host.wrong-digest.nl", BOGUS),
        ("nope.wrong-digest.nl", BOGUS),
        ("host.wrong-tag.example", BOGUS),
        ("host.unknown-digest.nl", INSECURE),
        ("host.unknown-algorithm.nl", INSECURE),
        ("host.sha384.nl", SECURE),
        ("host.two-ds.nl", SECURE),
        ("host.mixed-ds.nl", SECURE),
        ("host.mixed-bad-ds.nl", BOGUS),
        ("host.expired.nl", BOGUS),
        ("nope.expired.nl", BOGUS),
        ("host.early.nl", BOGUS),
        ("host.expired-n3.example", BOGUS),
        ("nope.i1.nl", SECURE),
        ("nope.i100.nl", SECURE),
        ("nope.i101.nl", INSECURE),
        ("any.w.i101.nl", INSECURE),
        ("host.oo.example", SECURE),
        ("nope.oo.example", INSECURE),
        ("any.w.oo.example", INSECURE),
        ("host.signed.oo.example", SECURE),
        ("host.unsigned.oo.example", INSECURE),
        ("host.a.b.c.deep.example", SECURE),
        ("c.deep.example", SECURE),
        ("host.sub.a13.nl", SECURE),
        ("host.unsigned.a13.nl", INSECURE),
        ("host.gone.lame.nl", UNREACHABLE),
        ("host.lame.nl", SECURE),
        ("secure.aliases.nl", SECURE),
        ("unsigned.aliases.nl", INSECURE),
        ("wrong.aliases.nl", BOGUS),
        ("expired.aliases.nl", BOGUS),
        ("host.dsecure.aliases.nl", SECURE),
        ("host.dunsigned.aliases.nl", INSECURE),
        ("host.dwrong.aliases.nl", BOGUS),
        ("long.aliases.nl", SECURE),
        ("wild.aliases.nl", SECURE),
        ("nodata.aliases.nl", SECURE),
        ("lame.aliases.nl", UNREACHABLE),
        ("back.aliases.nl", INSECURE),
        ("x.any.aliases.nl", INSECURE),
        ("on.unsigned-aliases.nl", INSECURE),
        ("bad.unsigned-aliases.nl", BOGUS),
        ("alias.care", SECURE),
        ("nope.care", SECURE),
        ("nope.example", SECURE),
        ("nope.nl", INSECURE),
        ("nope", SECURE),
        ("a.b.c.nope", SECURE),
    ]
    other = [
        Scenario("nl", "NS", SECURE),
        Scenario("nl", "DS", SECURE),
        Scenario("a13.nl", "DNSKEY", SECURE),
        Scenario("a13.nl", "DS", SECURE),
        Scenario("a13.nl", "SOA", SECURE),
        Scenario("unsigned.example", "DS", SECURE),
        Scenario("unsigned.care", "DS", SECURE),
        Scenario("unsigned.nl", "DS", SECURE),
        Scenario("unsigned.oo.example", "DS", INSECURE),
        Scenario(".", "NS", SECURE),
        Scenario("*.w.a13.nl", "A", SECURE),
        Scenario("*.w.a13n3.nl", "A", SECURE),
        Scenario("host.i101.nl", "A", INSECURE, SECURE, "we ask for a cut at each label, so we meet the iterations"),
        Scenario("host.sha1-digest.nl", "A", INSECURE, SECURE, _SHA1),
        Scenario("host.sha1-algorithm.nl", "A", INSECURE, SECURE, _SHA1),
    ]
    return [Scenario(owner, "A", state) for owner, state in rows] + other


def tampered(responder: Responder) -> list[Scenario]:
    """Answers changed on their way. Each has a name of its own, because unbound remembers."""

    def raw(owner: str, rdtype: str) -> dns.message.Message:
        query = question(dns.name.from_text(owner), RdataType[rdtype])
        return dns.message.from_wire(responder.respond(query).to_wire(max_size=65535))

    def data(answer: dns.message.Message) -> dns.message.Message:
        rrset = answer.answer[0]
        answer.answer[0] = dns.rrset.from_text(rrset.name, rrset.ttl, "IN", "A", "127.6.6.6")
        return answer

    def replay(owner: str, rdtype: str, *, rename: str = "", proof: str = "") -> Change:
        """Answer with what belongs to another question, its owner renamed."""

        def change(answer: dns.message.Message) -> dns.message.Message:
            other = raw(owner, rdtype)
            answer.set_rcode(other.rcode())
            answer.answer = [
                dns.rrset.from_rdata_list(dns.name.from_text(rename) if rename else r.name, r.ttl, list(r))
                for r in other.answer
            ]
            answer.authority = other.authority + (raw(proof, "AAAA").authority if proof else [])
            return answer

        return change

    def signer(zone: str) -> Change:
        def change(answer: dns.message.Message) -> dns.message.Message:
            for i, rrset in enumerate(answer.answer):
                if rrset.rdtype == RdataType.RRSIG:
                    swapped = rrset[0].replace(signer=dns.name.from_text(zone))
                    answer.answer[i] = dns.rrset.from_rdata(rrset.name, rrset.ttl, swapped)
            return answer

        return change

    def without(index: int) -> Change:
        """Leave out one of the denial records."""

        def change(answer: dns.message.Message) -> dns.message.Message:
            owners = [r.name for r in answer.authority if r.rdtype in {RdataType.NSEC, RdataType.NSEC3}]
            answer.authority = [r for r in answer.authority if r.name != owners[index] or r.rdtype == RdataType.SOA]
            return answer

        return change

    def beside(**lies: Any) -> Change:
        """The good signature, and beside it the same with other fields."""

        def change(answer: dns.message.Message) -> dns.message.Message:
            for i, rrset in enumerate(answer.answer):
                if rrset.rdtype == RdataType.RRSIG:
                    both = [rrset[0], rrset[0].replace(**lies)]
                    answer.answer[i] = dns.rrset.from_rdata_list(rrset.name, rrset.ttl, both)
            return answer

        return change

    def instead(**lies: Any) -> Change:
        def change(answer: dns.message.Message) -> dns.message.Message:
            for i, rrset in enumerate(answer.answer):
                if rrset.rdtype == RdataType.RRSIG:
                    answer.answer[i] = dns.rrset.from_rdata(rrset.name, rrset.ttl, rrset[0].replace(**lies))
            return answer

        return change

    def ttl(seconds: int) -> Change:
        def change(answer: dns.message.Message) -> dns.message.Message:
            answer.answer = [dns.rrset.from_rdata_list(r.name, seconds, list(r)) for r in answer.answer]
            return answer

        return change

    sound: list[tuple[str, str, Change]] = [
        # The signed TTL counts, whatever an answer says of it (RFC 4035 section 5.3.3).
        ("longer.w.tampered.nl", "A", ttl(2**30)),
        ("shorter.w.tampered.nl", "A", ttl(1)),
        # One good signature is enough (RFC 6840 section 5.11).
        ("expired-too.w.tampered.nl", "A", beside(expiration=1_000_000_000, inception=900_000_000)),
        ("stranger-too.w.tampered.nl", "A", beside(key_tag=1)),
        ("signer-too.w.tampered.nl", "A", beside(signer=dns.name.from_text("nl."))),
        ("algorithm-too.w.tampered.nl", "A", beside(algorithm=200)),
        ("broken-too.w.tampered.nl", "A", beside(signature=b"\x01" * 64)),
    ]
    rows: list[tuple[str, str, Change]] = [
        ("original-ttl.w.tampered-n3.nl", "A", instead(original_ttl=2**30)),
        ("fewer-labels.w.tampered-n3.nl", "A", instead(labels=2)),
        ("no-wildcard.w.tampered-n3.nl", "A", instead(labels=4)),
        ("many-labels.w.tampered-n3.nl", "A", instead(labels=9)),
        ("later.w.tampered-n3.nl", "A", instead(expiration=2**31)),
        ("earlier.w.tampered-n3.nl", "A", instead(inception=1)),
        ("algorithm.w.tampered-n3.nl", "A", instead(algorithm=8)),
        ("tag.w.tampered-n3.nl", "A", instead(key_tag=1)),
    ]
    for zone in ("tampered.nl", "tampered-n3.nl"):
        rows += [
            (f"host.{zone}", "A", data),
            (f"big.{zone}", "TXT", lambda a: strip(a, str(a.question[0].name), "TXT")),
            (f"host.{zone}", "AAAA", lambda a: drop(a, "NSEC", "NSEC3")),
            (f"nope.{zone}", "A", lambda a: drop(a, "NSEC", "NSEC3")),
            (f"nope2.{zone}", "A", without(0)),
            (f"a.nope3.{zone}", "A", without(-1)),
            (f"plain.w.{zone}", "A", lambda a: drop(a, "NSEC", "NSEC3")),
            (f"exists.w.{zone}", "A", replay(f"x.w.{zone}", "A", rename=f"exists.w.{zone}")),
            (f"www.{zone}", "A", lambda a: strip(a, str(a.question[0].name), "CNAME")),
            (f"b.ent.{zone}", "MX", replay(f"nope.{zone}", "MX")),
            (zone, "MX", signer("nl.")),
            (zone, "NS", signer("a13.nl.")),
            (f"two.{zone}", "TXT", replay(f"nope.{zone}", "TXT")),
            (zone, "AAAA", replay("txt.nl.", "AAAA")),
        ]
    tables = ((rows, BOGUS), (sound, SECURE))
    return [
        Scenario(owner, rdtype, state, change=(f"{owner}.", rdtype, change))
        for table, state in tables
        for owner, rdtype, change in table
    ]


PLAIN = (*_plain(), *_special(), *_odd())
__all__ = ["PLAIN", "SOURCES", "Scenario", "find", "tampered"]
