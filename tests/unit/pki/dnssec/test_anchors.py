"""Anchor files: what is read, and what is refused with its line."""

import dns.name
import pytest
from dns.rdtypes.ANY.DS import DS as DsRecord  # noqa: N811  DS is the line here

from authz.domain.errors import InvalidValue
from pki.dnssec import parse_anchors, root_anchors
from pki.dnssec.anchors import TrustAnchor, anchors_for

DS = "nl. IN DS 12345 13 2 " + "AB" * 32


def test_the_root_has_the_two_keys_of_the_rollover() -> None:
    assert {a.record.key_tag for a in root_anchors() if isinstance(a.record, DsRecord)} == {20326, 38696}


@pytest.mark.parametrize(
    "line", [DS, DS.replace("IN ", ""), DS.replace("IN", "3600 IN"), DS + " ; the KSK", DS.lower()]
)
def test_one_line_in_its_usual_forms(line: str) -> None:
    assert TrustAnchor.parse(line).zone == dns.name.from_text("nl.")


@pytest.mark.parametrize(
    "line",
    [
        "nl. IN A 127.0.0.1",
        "nl. CH DS 12345 13 2 " + "AB" * 32,
        "nl. IN DS 12345 13 2 XY",
        "nl. IN DS 12345 13 2 " + "AB" * 31,
        "nl. IN DS",
        "a..nl IN DS 12345 13 2 " + "AB" * 32,
        "DS 12345 13 2 " + "AB" * 32,
        "nl. IN DNSKEY 257 3 13 !!!",
    ],
)
def test_a_malformed_line_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(InvalidValue, match=r"^line 3: "):
        parse_anchors(f"; anchors\n{DS}\n{line}\n")


@pytest.mark.parametrize("text", ["", "\n\n", "; nothing\n# here\n"])
def test_a_file_without_anchors_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="no trust anchor"):
        parse_anchors(text)


def test_too_many_anchors_are_refused() -> None:
    assert len(parse_anchors("\n".join([DS] * 32))) == 32
    with pytest.raises(InvalidValue, match="more than 32"):
        parse_anchors("\n".join([DS] * 33))


def test_the_deepest_anchored_zone_counts_and_a_mere_suffix_of_text_does_not() -> None:
    anchors = (*root_anchors(), TrustAnchor.parse(DS))
    assert {a.zone for a in anchors_for(dns.name.from_text("ciz.nl."), anchors)} == {dns.name.from_text("nl.")}
    assert {a.zone for a in anchors_for(dns.name.from_text("ciz.xnl."), anchors)} == {dns.name.root}
    assert anchors_for(dns.name.from_text("ciz.be."), anchors[2:]) == ()
