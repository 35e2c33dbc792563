"""Filters: what nothing could ever fit is refused, beside what is only not there."""

from typing import Any

import pytest

from authz.audit.filters import parse_filters
from authz.domain.errors import InvalidValue

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("name", "malformed", "fitting"),
    [
        ("trace", "zz", TRACE),
        ("trace", TRACE.upper(), TRACE),
        ("trace", "0" * 32, "0" * 31 + "1"),
        ("trace", f"{TRACE}\n", TRACE),
        ("reason", "Scope Unknown", "scope_unknown"),
        ("reason", "", "no_such_reason"),
        ("source", "authz", "sluis/authz"),
        ("source", "sluis/", "sluis/trust-agent/ciz"),
        ("participant", "5000", "uzovi:5000"),
        ("participant", "uzovi:50", "uzovi:9999"),
        ("participant", "agbcode:012345678", "agbcode:01234567"),
        ("participant", "", "unknown"),
        ("participant", "jan", "operator:jan"),
        ("participant", "\x1b[31m", "sluis/authz"),
        ("item", "", "record-1"),
        ("item", "a" * 513, "a" * 512),
        ("protocol", "token\x00", "token@1"),
        ("since", "yesterday", "2026-11-22"),
        ("since", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z"),
        ("until", "2026-13-01T00:00:00Z", "2026-12-01T00:00:00Z"),
    ],
)
def test_a_malformed_filter_is_refused_and_a_well_formed_one_is_searched(
    name: str, malformed: str, fitting: str
) -> None:
    typed: Any = {name: malformed}
    with pytest.raises(InvalidValue):
        parse_filters(limit=50, **typed)
    typed = {name: fitting}
    assert len(parse_filters(limit=50, **typed).described()) == 2


def test_a_time_that_ends_before_it_begins_is_refused() -> None:
    begin, end = "2026-11-22T12:00:00Z", "2026-11-22T13:00:00+01:00"
    with pytest.raises(InvalidValue):
        parse_filters(since=begin, until=end, limit=50)
    assert parse_filters(since=begin, until="2026-11-22T12:00:01Z", limit=50).until is not None


def test_a_ura_is_searched_in_the_spelling_of_the_record() -> None:
    assert parse_filters(participant="ura:1234", limit=1).participant == "ura:00001234"
