"""Attacks on the client certificate header (cases/oauth.md 33-40), beside the header that Envoy would have written."""

import hashlib

import pytest

from authz.domain.errors import Refused
from authz.edge.client_certificate import MAX_CHAIN, MAX_KEPT_XFCC, MAX_XFCC_LENGTH, KnownCertificates, parse_xfcc
from tests.fakes.certificates import FakeAuthority, FakeCertificate

CA = FakeAuthority()
LEAF = CA.issue("uzovi:5000")
OTHER = CA.issue("uzovi:5001")


def escaped(*pems: bytes) -> str:
    text = b"".join(pems).decode()
    for character, code in (("\n", "%0A"), (" ", "%20"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D")):
        text = text.replace(character, code)
    return text


def xfcc(leaf: FakeCertificate = LEAF, chain: tuple[bytes, ...] | None = None, digest: str = "") -> str:
    chain = chain if chain is not None else (leaf.pem, CA.issuing.pem)
    digest = digest or hashlib.sha256(leaf.der).hexdigest()
    return f'Hash={digest};Cert="{escaped(leaf.pem)}";Chain="{escaped(*chain)}"'


def reason_of(header: str | None) -> str:
    with pytest.raises(Refused) as caught:
        parse_xfcc(header)
    return caught.value.reason.value


def test_what_envoy_writes_is_read() -> None:
    presented = parse_xfcc(xfcc())
    assert presented.leaf_der == LEAF.der
    assert presented.chain_der == (
        CA.issuing.certificate.public_bytes(__import__("cryptography").hazmat.primitives.serialization.Encoding.DER),
    )
    assert len(presented.thumbprint) == 43


@pytest.mark.parametrize("header", [None, ""])
def test_no_certificate_is_missing(header: str | None) -> None:
    assert reason_of(header) == "certificate_missing"


GOOD = xfcc()
ATTACKS = {
    "several elements": f"{GOOD},{xfcc(OTHER)}",
    "a second element after a space": f"{GOOD}, {xfcc(OTHER)}",
    "quote injection": GOOD.replace('";Chain', '";Cert="x";Chain'),
    "an escaped quote": GOOD.replace('Cert="', 'Cert="\\"'),
    "an element by somebody": f"By=spiffe://x;{GOOD}",
    "keys in another order": ";".join(reversed(GOOD.split(";"))),
    "a subject": f'{GOOD};Subject="CN=uzovi:5000"',
    "a URI": f"{GOOD};URI=spiffe://uzovi/5000",
    "no chain": GOOD.partition(";Chain")[0],
    "only a hash": GOOD.partition(";")[0],
    "the hash of another certificate": xfcc(digest=hashlib.sha256(OTHER.der).hexdigest()),
    "a hash in upper case": GOOD.replace(GOOD[5:69], GOOD[5:69].upper()),
    "a leaf that is not the first of the chain": xfcc(chain=(OTHER.pem, LEAF.pem)),
    "an empty chain": xfcc(chain=()),
    "a chain that is too long": xfcc(chain=(LEAF.pem,) + (CA.issuing.pem,) * MAX_CHAIN),
    "a truncated PEM": GOOD.replace("-----END%20CERTIFICATE-----%0A", "", 1),
    "doubly encoded": GOOD.replace("%", "%25"),
    "another escape": GOOD.replace("%0A", "%0a", 1),
    "an escape that Envoy does not write": GOOD.replace("BEGIN", "%42EGIN", 1),
    "base64 with a stray character": GOOD.replace("MII", "M-I", 1),
    "a private key": GOOD.replace("CERTIFICATE", "PRIVATE%20KEY"),
    "two leaves": GOOD.replace(escaped(LEAF.pem), escaped(LEAF.pem, OTHER.pem), 1),
    "a line break": GOOD + "\n",
    "a NUL": GOOD + "\x00",
    "too long": GOOD + " " * MAX_XFCC_LENGTH,
}


@pytest.mark.parametrize("header", ATTACKS.values(), ids=ATTACKS.keys())
def test_what_envoy_does_not_write_is_refused(header: str) -> None:
    assert reason_of(header) == "certificate_malformed"


def test_a_chain_at_the_limit_is_read() -> None:
    assert len(parse_xfcc(xfcc(chain=(LEAF.pem,) + (CA.issuing.pem,) * (MAX_CHAIN - 1))).chain_der) == MAX_CHAIN - 1


def test_only_what_was_kept_is_found_and_only_as_it_was_spelled() -> None:
    known = KnownCertificates(2)
    presented = parse_xfcc(GOOD)
    assert known.find(GOOD) is None
    known.keep(GOOD, presented)
    assert known.find(GOOD) is presented
    assert known.find(GOOD.replace("%0A", "%0a", 1)) is None
    known.forget(GOOD)
    assert known.find(GOOD) is None


def test_a_header_of_sixty_four_kilobytes_is_read_each_time() -> None:
    known = KnownCertificates(2)
    known.keep("x" * MAX_KEPT_XFCC, parse_xfcc(GOOD))
    known.keep("y" * (MAX_KEPT_XFCC + 1), parse_xfcc(GOOD))
    assert len(known) == 1
    assert known.find("x" * MAX_KEPT_XFCC) is not None
